// Who may call a whole server, over real connections.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "client/client.h"
#include "core/storage/file_system.h"
#include "server/auth/method_scopes.h"
#include "server/auth/token.h"
#include "server/auth/tokens_file.h"
#include "server/server.h"
#include "tests/server/auth/test_certificates.h"
#include "tests/server/generic_call.h"
#include "tests/server/http/raw_client.h"

namespace convd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

constexpr char kReflection[] = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
constexpr Scope kScopes[] = {Scope::kRead, Scope::kPredict, Scope::kTrain, Scope::kAdmin};

class AccessTest : public ::testing::Test {
 protected:
  AccessTest() {
    char name[] = "/tmp/convd-access-test-XXXXXX";
    EXPECT_NE(mkdtemp(name), nullptr);
    dir_ = name;
    config_.grpc_address = "127.0.0.1:0";
    config_.http_address = "127.0.0.1:0";
    config_.state_dir = dir_ + "/state";
    config_.cpus = 1;
  }
  ~AccessTest() override { std::filesystem::remove_all(dir_); }

  std::string Write(const std::string& name, const std::string& text) {
    const std::string path = dir_ + "/" + name;
    std::ofstream(path) << text;
    std::filesystem::permissions(path, std::filesystem::perms(0600));
    return path;
  }
  std::string Read(const std::string& name) const {
    std::ifstream file(dir_ + "/" + name);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
  static std::string Line(const std::string& name, const std::string& scopes) {
    return TokensFileLine(name, *ParseScopes(scopes), HashToken(name + "-token")) + "\n";
  }
  void Start() {
    auto server = Server::Start(config_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
    if (!config_.tls_cert.empty()) {
      credentials = grpc::SslCredentials({authority_.certificate(), own_.key, own_.certificate});
    }
    channel_ = grpc::CreateChannel(server_->grpc_address(), credentials);
  }
  grpc::Status Call(const std::string& method, const std::string& token) {
    GenericCall call;
    if (!token.empty()) call.context.AddMetadata("authorization", "Bearer " + token);
    return call.Run(channel_, method);
  }
  void WriteTokenOfEachScope();
  // The answer to "METHOD /path" over HTTP, or HTTPS where the server speaks that.
  std::string Ask(const std::string& route, const std::string& token,
                  const std::string& host = "localhost:8080", const std::string& more = "") {
    RawClient client(server_->http_address());
    if (!config_.tls_cert.empty()) client.StartTls(authority_.certificate(), own_);
    client.Send(absl::StrCat(
        route, " HTTP/1.1\r\nHost: ", host, "\r\nConnection: close\r\nContent-Length: 0\r\n", more,
        token.empty() ? "" : absl::StrCat("Authorization: Bearer ", token, "\r\n"), "\r\n"));
    return client.Rest();
  }
  void UseTls() {
    const PemPair pair = authority_.Issue("convd");
    config_.tls_cert = Write("cert.pem", pair.certificate);
    config_.tls_key = Write("key.pem", pair.key);
  }
  absl::Status Connect(const ClientOptions& options, const std::string& scheme = "") {
    auto client = Client::Connect(scheme + server_->grpc_address(), options);
    if (!client.ok()) return client.status();
    return (*client)->ListModels().status();
  }

  TestAuthority authority_;
  PemPair own_;  // of who asks over TLS; empty: none
  std::string dir_;
  Config config_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

// A token for each scope, and one for all others.
void AccessTest::WriteTokenOfEachScope() {
  std::string tokens;
  for (const Scope scope : kScopes) {
    const std::string name(ToString(scope));
    tokens += Line(name, name);
    std::string others;
    for (const Scope other : kScopes) {
      if (other != scope) absl::StrAppend(&others, others.empty() ? "" : ",", ToString(other));
    }
    tokens += Line("not-" + name, others);
  }
  config_.tokens = Write("tokens", tokens);
}

// In the open, and encrypted.
class EveryAccessTest : public AccessTest, public ::testing::WithParamInterface<bool> {
 protected:
  EveryAccessTest() {
    if (GetParam()) UseTls();
  }
};
INSTANTIATE_TEST_SUITE_P(Tls, EveryAccessTest, ::testing::Bool());

TEST_P(EveryAccessTest, EveryRouteOverHttpWantsATokenWithItsScope) {
  const std::map<std::string, Scope> kRoutes = {
      {"GET /healthz", Scope::kNone},
      {"GET /readyz", Scope::kNone},
      {"GET /metrics", Scope::kRead},
      {"GET /v1/datasets", Scope::kRead},
      {"GET /v1/datasets/{name}", Scope::kRead},
      {"GET /v1/jobs", Scope::kRead},
      {"GET /v1/jobs/{id}", Scope::kRead},
      {"GET /v1/models", Scope::kRead},
      {"GET /v1/models/{name}", Scope::kRead},
      {"GET /v1/models/{name}/versions", Scope::kRead},
      {"GET /v1/models/{name}/versions/{version}", Scope::kRead},
      {"POST /v1/models/{name}/versions/{version}:predict", Scope::kPredict},
      {"POST /v1/models/{name}:predict", Scope::kPredict},
      {"GET /v2", Scope::kRead},
      {"GET /v2/health/live", Scope::kNone},
      {"GET /v2/health/ready", Scope::kNone},
      {"GET /v2/models/{name}", Scope::kRead},
      {"GET /v2/models/{name}/ready", Scope::kRead},
      {"GET /v2/models/{name}/versions/{version}", Scope::kRead},
      {"GET /v2/models/{name}/versions/{version}/ready", Scope::kRead},
      {"POST /v2/models/{name}/infer", Scope::kPredict},
      {"POST /v2/models/{name}/versions/{version}/infer", Scope::kPredict},
      {"POST /v2/repository/index", Scope::kRead},
      {"POST /v2/repository/models/{name}/load", Scope::kAdmin},
      {"POST /v2/repository/models/{name}/unload", Scope::kAdmin},
  };
  WriteTokenOfEachScope();
  Start();
  // What is at none of its paths, the server says itself.
  std::string there = Ask("GET /nothing", "");
  there = there.substr(there.find("there are ") + 10);
  there = there.substr(0, there.find('"'));
  for (const absl::string_view route : absl::StrSplit(there, ", ")) {
    EXPECT_EQ(kRoutes.count(std::string(route)), 1u) << route << " is not in this test's table";
  }
  EXPECT_EQ(std::vector<std::string>(absl::StrSplit(there, ", ")).size(), kRoutes.size());
  for (const auto& [route, scope_of] : kRoutes) {
    const std::string scope(ToString(scope_of));
    const std::string open = Ask(route, "");
    if (scope_of == Scope::kNone) {
      EXPECT_THAT(open, HasSubstr("HTTP/1.1 200 ")) << route;
      continue;
    }
    EXPECT_THAT(open, AllOf(HasSubstr("HTTP/1.1 401 "), HasSubstr("WWW-Authenticate: Bearer\r\n")))
        << route;
    EXPECT_THAT(Ask(route, "other-token"), HasSubstr("HTTP/1.1 401 ")) << route;
    EXPECT_THAT(Ask(route, "not-" + scope + "-token"),
                AllOf(HasSubstr("HTTP/1.1 403 "), HasSubstr("needs the scope " + scope)))
        << route;
    EXPECT_THAT(Ask(route, scope + "-token"),
                AllOf(Not(HasSubstr("HTTP/1.1 401 ")), Not(HasSubstr("HTTP/1.1 403 "))))
        << route;
  }
}

// Browsers send pages' requests to wherever a page says.
TEST_F(AccessTest, WithoutTokensPagesOfOtherSitesAreRefused) {
  Start();
  const std::string kUnload = "POST /v2/repository/models/none/unload";
  for (const char* host : {"localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST"}) {
    const std::string lower = host[0] == 'L' ? "localhost" : host;
    EXPECT_THAT(Ask("GET /v1/models", "", lower), HasSubstr("HTTP/1.1 200 ")) << lower;
    EXPECT_THAT(Ask("GET /v1/models", "", lower, "Origin: http://" + lower + "\r\n"),
                HasSubstr("HTTP/1.1 200 "))
        << lower;
  }
  for (const char* origin : {"http://example.org", "null", "https://localhost:8080",
                             "http://localhost:9999", "http://localhost:8080.example.org"}) {
    EXPECT_THAT(Ask(kUnload, "", "localhost:8080", absl::StrCat("Origin: ", origin, "\r\n")),
                AllOf(HasSubstr("HTTP/1.1 403 "), HasSubstr("origin: ")))
        << origin;
  }
  for (const char* host : {"example.org", "localhost.example.org:8080", "[::2]:80", "x", ""}) {
    EXPECT_THAT(Ask("GET /v1/models", "", host),
                AllOf(HasSubstr("HTTP/1.1 403 "), HasSubstr("host: ")))
        << host;
  }
  EXPECT_THAT(Ask("GET /healthz", "", "example.org"), HasSubstr("HTTP/1.1 200 "));
  // A header that nobody asks for excuses nothing.
  EXPECT_THAT(Ask(kUnload, "", "example.org", "Authorization: Bearer x\r\n"),
              HasSubstr("HTTP/1.1 403 "));
}

TEST_F(AccessTest, BodiesOfStrangersAreNotRead) {
  Start();
  RawClient client(server_->http_address());
  client.Send("GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n");
  EXPECT_THAT(client.Rest(), HasSubstr("HTTP/1.1 413 "));
}

TEST_F(AccessTest, WithCertificatesAloneOnesHolderMayDoEverythingOverHttps) {
  UseTls();
  config_.tls_client_ca = Write("ca.pem", authority_.certificate());
  Start();
  // What asks whether the server is well often has no certificate to show, such as Kubernetes.
  EXPECT_THAT(Ask("GET /healthz", ""), HasSubstr("HTTP/1.1 200 "));
  EXPECT_THAT(Ask("GET /v1/models", ""),
              AllOf(HasSubstr("HTTP/1.1 401 "), HasSubstr("--tls-client-ca")));
  EXPECT_THAT(Ask("GET /v1/models", "no-token"), HasSubstr("HTTP/1.1 401 "));
  own_ = authority_.Issue("board");
  EXPECT_THAT(Ask("GET /v1/models", ""), HasSubstr("HTTP/1.1 200 "));
  EXPECT_THAT(Ask("POST /v2/repository/models/none/unload", ""), HasSubstr("HTTP/1.1 404 "));
  // A browser shows its user's certificate for other sites' pages, too.
  EXPECT_THAT(Ask("GET /v1/models", "", "localhost", "Origin: https://localhost\r\n"),
              HasSubstr("HTTP/1.1 200 "));
  EXPECT_THAT(Ask("GET /v1/models", "", "localhost", "Origin: http://localhost\r\n"),
              HasSubstr("HTTP/1.1 403 "));
  TestAuthority stranger("stranger");
  own_ = stranger.Issue("board");
  EXPECT_EQ(Ask("GET /healthz", ""), "");
}

TEST_F(AccessTest, ACertificatesNamesAreTheSameOverHttpsAndGrpc) {
  UseTls();
  config_.tls_client_ca = Write("ca.pem", authority_.certificate());
  config_.tokens =
      Write("tokens", "board read cert\nbuilder.example train cert\n" + Line("ci", "predict"));
  own_ = authority_.Issue("x", "DNS:other.example,DNS:builder.example");
  Start();
  EXPECT_THAT(Ask("GET /v1/models", ""),
              AllOf(HasSubstr("HTTP/1.1 403 "), HasSubstr("\\\"builder.example\\\" has train")));
  EXPECT_THAT(Call("/convd.v1.Models/ListModels", "").error_message(),
              HasSubstr("\"builder.example\" has train"));
  // A token counts before a certificate, and doesn't make it needless.
  EXPECT_THAT(Ask("GET /v1/models", "ci-token"),
              AllOf(HasSubstr("HTTP/1.1 403 "), HasSubstr("\\\"ci\\\" has predict")));
  own_ = authority_.Issue("board");
  EXPECT_THAT(Ask("GET /v1/models", ""), HasSubstr("HTTP/1.1 200 "));
  own_ = authority_.Issue("who");
  EXPECT_THAT(Ask("GET /v1/models", ""),
              AllOf(HasSubstr("HTTP/1.1 401 "), HasSubstr("certificate is for who")));
  own_ = {};
  EXPECT_THAT(Ask("GET /v1/models", "ci-token"), HasSubstr("HTTP/1.1 401 "));
}

TEST_F(AccessTest, WhoMayNotSendABodyIsToldBeforeTheBody) {
  WriteTokenOfEachScope();
  Start();
  for (const auto& [path, token, status] :
       {std::tuple{"/v1/models/m:predict", "", "401"},
        std::tuple{"/v1/models/m:predict", "not-predict-token", "403"},
        std::tuple{"/v1/nothing", "", "404"}, std::tuple{"/v1/models", "", "405"}}) {
    RawClient client(server_->http_address());
    client.Send(
        absl::StrCat("POST ", path, " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999",
                     "\r\nExpect: 100-continue\r\nAuthorization: Bearer ", token, "\r\n\r\n"));
    EXPECT_THAT(client.Rest(), HasSubstr(absl::StrCat("HTTP/1.1 ", status, " "))) << path;
  }
}

TEST_F(AccessTest, APrincipalsLimitsAreOneForGrpcAndHttp) {
  config_.tokens =
      Write("tokens", TokensFileLine("slow", *ParseScopes("read"), HashToken("slow-token")) +
                          " rate=0.001\n");
  Start();
  EXPECT_EQ(Call("/convd.v1.Models/ListModels", "slow-token").error_code(), grpc::OK);
  EXPECT_THAT(Ask("GET /v1/models", "slow-token"),
              AllOf(HasSubstr("HTTP/1.1 429 "), HasSubstr("Retry-After: ")));
  EXPECT_THAT(Ask("GET /healthz", ""), HasSubstr("HTTP/1.1 200 "));
}

TEST_P(EveryAccessTest, EveryMethodWantsATokenWithItsScope) {
  WriteTokenOfEachScope();
  Start();
  for (const MethodScope& method : MethodScopes()) {
    const std::string name(method.method);
    const std::string scope(ToString(method.scope));
    if (method.scope == Scope::kNone) {
      EXPECT_EQ(Call(name, "").error_code(), grpc::OK) << name;
      continue;
    }
    EXPECT_EQ(Call(name, "").error_code(), grpc::UNAUTHENTICATED) << name;
    EXPECT_EQ(Call(name, "other-token").error_code(), grpc::UNAUTHENTICATED) << name;
    const grpc::Status denied = Call(name, "not-" + scope + "-token");
    EXPECT_EQ(denied.error_code(), grpc::PERMISSION_DENIED) << name;
    EXPECT_THAT(denied.error_message(), HasSubstr("needs the scope " + scope)) << name;
    const grpc::Status allowed = Call(name, scope + "-token");
    EXPECT_THAT(allowed.error_code(),
                AllOf(Not(grpc::UNAUTHENTICATED), Not(grpc::PERMISSION_DENIED), Not(grpc::INTERNAL),
                      Not(grpc::UNIMPLEMENTED)))
        << name << ": " << allowed.error_message();
  }
  EXPECT_TRUE(Call("/grpc.health.v1.Health/Check", "").ok());
  const grpc::Status reflection = Call(kReflection, "");
  EXPECT_EQ(reflection.error_code(), grpc::UNAUTHENTICATED) << reflection.error_message();
  EXPECT_THAT(reflection.error_message(), HasSubstr("no token came with the call"));
  EXPECT_EQ(Call(kReflection, "train-token").error_code(), grpc::PERMISSION_DENIED);
  EXPECT_TRUE(Call(kReflection, "read-token").ok());
  EXPECT_EQ(Call("/convd.v1.Jobs/Unheard", "read-token").error_code(), grpc::UNIMPLEMENTED);
}

TEST_F(AccessTest, TheAuditLogSaysWhoChangedWhat) {
  config_.tokens = Write("tokens", Line("ci", "train,admin") + Line("eve", "read"));
  config_.audit_log = dir_ + "/audit";
  Start();
  ClientOptions options;
  options.token = "ci-token";
  auto ci = Client::Connect(server_->grpc_address(), options);
  ASSERT_TRUE(ci.ok()) << ci.status();
  EXPECT_FALSE((*ci)->DeleteDataset("a\"b\n{}").ok());
  EXPECT_FALSE((*ci)->CancelJob("nope").ok());
  options.token = "eve-token";
  auto eve = Client::Connect(server_->grpc_address(), options);
  ASSERT_TRUE(eve.ok());
  EXPECT_TRUE((*eve)->ListModels().ok());
  EXPECT_TRUE(absl::IsPermissionDenied((*eve)->RollBackLabel("m", "stable").status()));
  options.token = "nobodys";
  EXPECT_TRUE(absl::IsUnauthenticated(
      (*Client::Connect(server_->grpc_address(), options))->DeleteDataset("x")));
  server_ = nullptr;
  std::vector<std::string> lines;
  std::istringstream text(Read("audit"));
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  // A call's line may come after its answer, and so after another's.
  EXPECT_THAT(lines, UnorderedElementsAre(
                         AllOf(HasSubstr(R"("principal":"ci","peer":"ipv4:127.0.0.1:)"),
                               HasSubstr(R"("method":"/convd.v1.Datasets/DeleteDataset")"),
                               HasSubstr(R"("target":"dataset a\"b\n{}")"),
                               HasSubstr(R"("outcome":"INVALID_ARGUMENT")")),
                         HasSubstr(R"("target":"job nope")"),
                         AllOf(HasSubstr(R"("principal":"eve")"), HasSubstr("RollBackLabel"),
                               HasSubstr(R"("outcome":"PERMISSION_DENIED")"))));
}

TEST_F(AccessTest, EncryptsAndTellsAClientWhatItIsMissing) {
  TestAuthority stranger("stranger");
  UseTls();
  config_.tokens = Write("tokens", Line("ci", "read"));
  Start();
  ClientOptions options;
  options.token = "ci-token";
  EXPECT_THAT(Connect(options).message(), HasSubstr("wants TLS"));
  options.tls_ca = stranger.certificate();
  EXPECT_THAT(Connect(options).message(), HasSubstr("certificates were given"));
  EXPECT_THAT(Connect(options, "https://").message(),
              HasSubstr("nobody whom this client trusts vouches for"));
  options.tls_ca = authority_.certificate();
  EXPECT_EQ(Connect(options, "https://"), absl::OkStatus());
  options.tls = true;
  options.token.clear();
  EXPECT_THAT(Connect(options).message(), HasSubstr("no token came with the call"));
  server_ = nullptr;
  config_.tls_cert = config_.tls_key = "";
  Start();
  EXPECT_THAT(Connect(options).message(), HasSubstr("doesn't encrypt"));
}

TEST_F(AccessTest, KnowsClientsByTheirCertificates) {
  TestAuthority stranger("stranger");
  UseTls();
  config_.tls_client_ca = Write("ca.pem", authority_.certificate());
  config_.tokens = Write("tokens", "board read cert\nbuilder.example train cert\n");
  Start();
  ClientOptions options;
  options.tls = true;
  options.tls_ca = authority_.certificate();
  EXPECT_THAT(Connect(options).message(), HasSubstr("wants a certificate of the client"));
  const auto with = [&](const PemPair& pair) {
    options.tls_certificate = pair.certificate;
    options.tls_key = pair.key;
    return Connect(options);
  };
  EXPECT_EQ(with(authority_.Issue("board")), absl::OkStatus());
  EXPECT_THAT(with(authority_.Issue("x", "DNS:builder.example")).message(),
              HasSubstr("\"builder.example\" has train"));
  EXPECT_THAT(with(authority_.Issue("who")).message(),
              HasSubstr("the client's certificate is for who"));
  EXPECT_THAT(with(stranger.Issue("board")).message(), HasSubstr("may not accept this client's"));
}

}  // namespace
}  // namespace convd
