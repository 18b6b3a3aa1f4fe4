#include "client/load/http_target.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "server/auth/tls_context.h"
#include "server/http/error_response.h"
#include "server/http/http_server.h"
#include "tests/server/auth/test_certificates.h"

namespace convd {
namespace {

using ::testing::HasSubstr;

// What a connection is sent, given its number and the request's, each from 0; nothing closes it.
using Answers = std::function<std::string(int connection, int request)>;

// Takes one connection after the other, on a thread. A body's end is a '}'.
class OneAtATime {
 public:
  explicit OneAtATime(Answers answers) : answers_(std::move(answers)) {
    listening_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(bind(listening_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listening_, 8), 0);
    EXPECT_EQ(getsockname(listening_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Run(); });
  }
  ~OneAtATime() { Stop(); }

  // REQUIRES: its clients have gone.
  void Stop() {
    if (!thread_.joinable()) return;
    shutdown(listening_, SHUT_RDWR);
    thread_.join();
    close(listening_);
  }

  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }
  std::vector<std::string> requests() {
    absl::MutexLock lock(&mu_);
    return requests_;
  }

 private:
  void Run() {
    for (int connection = 0;; ++connection) {
      const int fd = accept(listening_, nullptr, nullptr);
      if (fd < 0) return;
      std::string request;
      char byte = 0;
      for (int count = 0; read(fd, &byte, 1) == 1;) {
        request += byte;
        if (byte != '}') continue;
        {
          absl::MutexLock lock(&mu_);
          requests_.push_back(std::exchange(request, ""));
        }
        const std::string answer = answers_(connection, count++);
        if (answer.empty()) break;
        EXPECT_EQ(write(fd, answer.data(), answer.size()), static_cast<ssize_t>(answer.size()));
      }
      close(fd);
    }
  }

  const Answers answers_;
  int listening_ = -1;
  int port_ = 0;
  absl::Mutex mu_;
  std::vector<std::string> requests_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;
};

std::string Answer(const std::string& status, const std::string& body) {
  return absl::StrCat("HTTP/1.1 ", status, "\r\nContent-Length: ", body.size(), "\r\n\r\n", body);
}

class Ends final : public LoadObserver {
 public:
  void OnEnd(int, const absl::Status& status) override {
    absl::MutexLock lock(&mu_);
    ends_.push_back(status);
  }
  // The status of the next call that ends.
  absl::Status Next() {
    const auto any = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return !ends_.empty(); };
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&any));
    const absl::Status status = ends_.front();
    ends_.erase(ends_.begin());
    return status;
  }

 private:
  absl::Mutex mu_;
  std::vector<absl::Status> ends_ ABSL_GUARDED_BY(mu_);
};

std::unique_ptr<LoadTarget> Target(const std::string& address,
                                   absl::Duration timeout = absl::ZeroDuration()) {
  auto target = NewHttpTarget({.address = address,
                               .path = "/v1/models/digits:predict",
                               .bodies = {"{1}", "{2}"},
                               .timeout = timeout});
  EXPECT_TRUE(target.ok()) << target.status();
  return *std::move(target);
}

TEST(HttpTargetTest, CallsShareAConnectionAndSendTheBodiesInTurn) {
  OneAtATime server([](int connection, int) {
    EXPECT_EQ(connection, 0);
    return Answer("200 OK", "{}");
  });
  Ends ends;
  const auto target = Target(server.address());
  for (int call = 0; call < 3; ++call) {
    target->Start(0, call, ends);
    EXPECT_TRUE(ends.Next().ok());
  }
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 3u);
  EXPECT_EQ(requests[0],
            absl::StrCat("POST /v1/models/digits:predict HTTP/1.1\r\nHost: ", server.address(),
                         "\r\nContent-Type: application/json\r\nContent-Length: 3"
                         "\r\n\r\n{1}"));
  EXPECT_THAT(requests[1], HasSubstr("{2}"));
  EXPECT_THAT(requests[2], HasSubstr("{1}"));
}

TEST(HttpTargetTest, AnErrorHasTheCodeAndTheMessageOfTheAnswer) {
  OneAtATime server([](int, int request) {
    return request == 0   ? Answer("404 Not Found", R"({"error": {"message": "no such model"}})")
           : request == 1 ? Answer("429 Too Many Requests", R"({"error": "wait"})")
           : request == 2 ? Answer("503 Service Unavailable", "stopping")
                          : Answer("418 I'm a teapot", "");
  });
  Ends ends;
  const auto target = Target(server.address());
  const auto next = [&] {
    target->Start(0, 0, ends);
    return ends.Next();
  };
  EXPECT_EQ(next(), absl::NotFoundError("HTTP 404: no such model"));
  EXPECT_EQ(next(), absl::ResourceExhaustedError("HTTP 429: wait"));
  EXPECT_EQ(next(), absl::UnavailableError("HTTP 503: stopping"));
  EXPECT_EQ(next(), absl::UnknownError("HTTP 418: "));
}

TEST(HttpTargetTest, AConnectionThatWasClosedMeanwhileIsMadeAgain) {
  OneAtATime server([](int connection, int request) {
    return connection < 2 && request == 1 ? "" : Answer("200 OK", "{}");
  });
  Ends ends;
  const auto target = Target(server.address());
  for (int call = 0; call < 4; ++call) {
    target->Start(0, call, ends);
    EXPECT_TRUE(ends.Next().ok());
  }
}

TEST(HttpTargetTest, WhereNothingListensOrNothingSensibleAnswersItIsUnavailable) {
  OneAtATime server([](int, int) { return "\x05\x01 is no HTTP\r\n\r\n"; });
  Ends ends;
  std::unique_ptr<LoadTarget> target = Target(server.address());
  target->Start(0, 0, ends);
  EXPECT_EQ(ends.Next().code(), absl::StatusCode::kUnavailable);
  target = nullptr;
  server.Stop();
  target = Target(server.address());
  target->Start(0, 0, ends);
  EXPECT_EQ(ends.Next().code(), absl::StatusCode::kUnavailable);
}

TEST(HttpTargetTest, ACallWithoutAnAnswerEndsByCancellationOrTimeout) {
  // Part of an answer.
  OneAtATime server([](int, int) { return "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"; });
  Ends ends;
  std::unique_ptr<LoadTarget> target = Target(server.address());
  target->Start(0, 0, ends);
  target->CancelAll();
  EXPECT_EQ(ends.Next().code(), absl::StatusCode::kCancelled);
  target = Target(server.address(), absl::Milliseconds(1));
  target->Start(0, 0, ends);
  EXPECT_EQ(ends.Next().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(HttpTargetTest, SpeaksTlsWithAServerThatItTrusts) {
  TestAuthority authority;
  const PemPair pair = authority.Issue("convd"), own = authority.Issue("robot");
  const auto context = NewTlsContext({pair.certificate, pair.key, authority.certificate()});
  ASSERT_TRUE(context.ok()) << context.status();
  HttpServerOptions options;
  options.tls = [&context] { return *context; };
  const auto server = HttpServer::Start(
      options, [](const HttpRequest&, std::shared_ptr<Responder> responder) -> HttpGoOn {
        return [responder](HttpRequest request) {
          const bool known = !request.certificate_names.empty();
          responder->Respond(known ? HttpResponse{}
                                   : ErrorResponse(absl::PermissionDeniedError("who are you")));
        };
      });
  ASSERT_TRUE(server.ok()) << server.status();
  HttpLoad load = {.address = (*server)->address(), .path = "/", .bodies = {"{}"}};
  load.tls = true;
  load.tls_ca = authority.certificate();
  load.tls_certificate = own.certificate;
  load.tls_key = own.key;
  const auto ends_with = [](const HttpLoad& with) {
    const auto target = NewHttpTarget(with);
    EXPECT_TRUE(target.ok()) << target.status();
    Ends ends;
    (*target)->Start(0, 0, ends);
    if (absl::Status first = ends.Next(); !first.ok()) return first;
    (*target)->Start(0, 1, ends);
    return ends.Next();
  };
  EXPECT_TRUE(ends_with(load).ok());
  HttpLoad by_scheme = load;
  by_scheme.tls = false;
  by_scheme.address = absl::StrCat("https://", load.address);
  EXPECT_TRUE(ends_with(by_scheme).ok());
  HttpLoad another_name = load;
  another_name.address = absl::StrCat("localhost", load.address.substr(load.address.rfind(':')));
  EXPECT_TRUE(ends_with(another_name).ok());
  HttpLoad trusts_others = load;
  trusts_others.tls_ca = TestAuthority("others").certificate();
  const absl::Status distrusted = ends_with(trusts_others);
  EXPECT_EQ(distrusted.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(distrusted.message()), HasSubstr("no TLS connection"));
  for (std::string HttpLoad::* text :
       {&HttpLoad::tls_ca, &HttpLoad::tls_certificate, &HttpLoad::tls_key}) {
    HttpLoad wrong = load;
    wrong.*text = "no PEM";
    const absl::Status refused = NewHttpTarget(wrong).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(refused.message()), HasSubstr("want PEM"));
  }
}

TEST(HttpTargetTest, AddressesOfOtherFormsAreRefused) {
  for (const char* address : {"unix:/tmp/socket", "http://localhost:80", "localhost"}) {
    HttpLoad load;
    load.address = address;
    load.bodies = {""};
    EXPECT_EQ(NewHttpTarget(load).status().code(), absl::StatusCode::kInvalidArgument) << address;
  }
}

}  // namespace
}  // namespace convd
