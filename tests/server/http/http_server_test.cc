#include "server/http/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "server/auth/tls_context.h"
#include "server/http/error_response.h"
#include "server/http/request_reader.h"
#include "tests/server/http/raw_client.h"

namespace convd {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kHost[] = " HTTP/1.1\r\nHost: x\r\n";

std::string Get(const std::string& path) { return absl::StrCat("GET ", path, kHost, "\r\n"); }

// "/wait" is kept for the test to answer; all else is answered at once with what came.
class HttpServerTest : public ::testing::Test {
 protected:
  struct Waiting {
    HttpRequest request;
    std::shared_ptr<Responder> responder;
  };

  ~HttpServerTest() override { waiting_.clear(); }

  void Start() {
    auto server = HttpServer::Start(
        options_,
        [this](const HttpRequest& header, std::shared_ptr<Responder> responder) -> HttpGoOn {
          for (const NameValue& field : header.headers) {
            if (field.first == "x-request-id") responder->NameRequest(field.second);
          }
          if (header.path == "/refused") {
            responder->Respond(ErrorResponse(absl::PermissionDeniedError("not for you")));
            return nullptr;
          }
          return [this, responder](HttpRequest request) { Handle(std::move(request), responder); };
        });
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  void Handle(HttpRequest request, std::shared_ptr<Responder> responder) {
    if (request.path == "/wait") {
      absl::MutexLock lock(&mu_);
      waiting_.push_back({std::move(request), std::move(responder)});
      return;
    }
    if (request.path == "/drop") return;
    if (request.path == "/echo") return responder->Respond(Text(request.body));
    HttpResponse response;
    response.body = absl::StrCat(request.method, " ", request.path);
    for (const NameValue& value : request.query) {
      absl::StrAppend(&response.body, " ", value.first, "=", value.second);
    }
    absl::StrAppend(&response.body, " ", request.body.size(), " ", request.body.substr(0, 100));
    responder->Respond(response);
  }

  Waiting TakeWaiting() {
    absl::MutexLock lock(&mu_);
    const auto some = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return !waiting_.empty(); };
    mu_.Await(absl::Condition(&some));
    Waiting first = std::move(waiting_.front());
    waiting_.pop_front();
    return first;
  }
  static HttpResponse Text(const std::string& text) {
    HttpResponse response;
    response.body = text;
    return response;
  }

  // Each connection begins with what the last call made of authority_.
  void UseTls() {
    const PemPair pair = authority_.Issue("localhost");
    material_.certificate = pair.certificate;
    material_.key = pair.key;
    const auto context = NewTlsContext(material_);
    ASSERT_TRUE(context.ok()) << context.status();
    absl::MutexLock lock(&mu_);
    context_ = *context;
    options_.tls = [this] {
      absl::MutexLock lock(&mu_);
      return context_;
    };
  }

  TestAuthority authority_;
  TlsMaterial material_;
  HttpServerOptions options_;
  absl::Mutex mu_;
  std::shared_ptr<SSL_CTX> context_ ABSL_GUARDED_BY(mu_);
  std::deque<Waiting> waiting_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<HttpServer> server_;
};

// What Read leaves is shown to it again.
HttpRequestReader::State Feed(HttpRequestReader& reader, std::string& left,
                              const std::string& bytes) {
  left += bytes;
  left.erase(0, reader.Read(left));
  return reader.state();
}

TEST(HttpRequestReaderTest, CountsAHeaderHoweverItComes) {
  HttpReadLimits limits;
  limits.header_bytes = 1024;
  const auto reader = HttpRequestReader::New(limits);
  std::string left;
  auto state = Feed(*reader, left, "GET / HTTP/1.1\r\n");
  size_t sent = 16;
  const std::string line = "name-of-a-header: " + std::string(40, 'v') + "\r\n";
  for (; state == HttpRequestReader::State::kHeader && sent < 10'000; sent += line.size()) {
    state = Feed(*reader, left, line);
  }
  ASSERT_EQ(state, HttpRequestReader::State::kRefused);
  EXPECT_EQ(reader->refusal().status, 431);
  // Whether a line is at its end is only known from the next one's beginning.
  EXPECT_LE(sent, 1024 + 2 * line.size());
}

TEST(HttpRequestReaderTest, ReadsChunkedBodiesHoweverTheyAreCut) {
  const std::string header = absl::StrCat("POST /", kHost, "Transfer-Encoding: chunked\r\n\r\n");
  const std::pair<std::string, std::string> bodies[] = {
      {"0\r\n\r\n", ""},
      {"0;a=b\r\n\r\n", ""},
      {"0\r\nA: b\r\n\r\n", ""},
      {"1\r\nx\r\n0\r\n\r\n", "x"},
      {"3\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n", "abcde"},
  };
  for (const auto& [sent, body] : bodies) {
    for (size_t cut = 0; cut <= sent.size(); ++cut) {
      for (size_t again = cut; again <= sent.size(); ++again) {
        auto reader = HttpRequestReader::New({});
        std::string shown = header;
        for (const std::string& more :
             {sent.substr(0, cut), sent.substr(cut, again - cut), sent.substr(again)}) {
          shown += more;
          if (reader->state() != HttpRequestReader::State::kWhole) {
            shown.erase(0, reader->Read(shown));
          }
        }
        ASSERT_EQ(reader->state(), HttpRequestReader::State::kWhole) << sent << cut << again;
        EXPECT_EQ(reader->Take().body, body) << sent << cut << again;
        EXPECT_EQ(shown, "");
      }
    }
  }
}

TEST(HttpRequestReaderTest, BoundsALineOfAChunkedBodyHoweverItComes) {
  const std::string header = absl::StrCat("POST /", kHost, "Transfer-Encoding: chunked\r\n\r\n");
  for (const auto& [before, after] :
       {std::pair<std::string, std::string>{"0\r\nA: ", "\r\n\r\n"}, {"1;a=", "\r\n"}}) {
    for (size_t more : {0, 1}) {
      // A line of as many bytes as a header may have, or one more.
      const std::string line =
          before + std::string(200 - before.size() - after.size() + more, 'x') + after;
      for (const bool at_once : {false, true}) {
        auto reader = HttpRequestReader::New({.header_bytes = 200});
        std::string shown = header;
        shown.erase(0, reader->Read(shown));
        for (size_t i = 0; i < line.size() && reader->state() == HttpRequestReader::State::kBody;
             i += at_once ? line.size() : 1) {
          shown += at_once ? line : line.substr(i, 1);
          shown.erase(0, reader->Read(shown));
        }
        EXPECT_EQ(reader->state() == HttpRequestReader::State::kRefused, more == 1)
            << before << more << at_once;
      }
    }
  }
}

TEST(HttpRequestReaderTest, TakesSoManyHeadersAndQueryParametersAndNoMore) {
  for (const int count : {100, 200}) {
    std::string headers, query;
    for (int i = 0; i < count; ++i) {
      headers += "a:\r\n";
      query += "&a";
    }
    for (const std::string& request : {"GET / HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n",
                                       "GET /?" + query + " HTTP/1.1\r\nHost: x\r\n\r\n"}) {
      const auto reader = HttpRequestReader::New({});
      std::string left;
      const auto state = Feed(*reader, left, request);
      EXPECT_EQ(state, count == 100 ? HttpRequestReader::State::kWhole
                                    : HttpRequestReader::State::kRefused)
          << request;
    }
  }
}

TEST_F(HttpServerTest, AnswersOneRequestAfterAnotherOnAConnection) {
  Start();
  EXPECT_THAT(server_->address(), ::testing::MatchesRegex("127\\.0\\.0\\.1:[1-9][0-9]*"));
  RawClient client(server_->address());
  client.Send(Get("/a%20b?x=1%2B1&y=a+b&z"));
  EXPECT_THAT(client.Response(), AllOf(StartsWith("HTTP/1.1 200 OK\r\nDate: "),
                                       HasSubstr("\r\nContent-Length: 28\r\n"),
                                       HasSubstr("\r\nConnection: keep-alive\r\n"),
                                       EndsWith("\r\n\r\nGET /a%20b x=1+1 y=a b z= 0 ")));
  client.Send(absl::StrCat("POST /p", kHost, "Content-Length: 5\r\n\r\nhello"));
  EXPECT_THAT(client.Response(), EndsWith("\r\n\r\nPOST /p 5 hello"));
  // Without a body, but with its length.
  client.Send(absl::StrCat("HEAD /h", kHost, "\r\n"));
  EXPECT_THAT(client.Response(false),
              AllOf(HasSubstr("Content-Length: 10\r\n"), EndsWith("\r\n\r\n")));
  client.Send(absl::StrCat("GET http://x/abs?q=1", kHost, "Connection: close\r\n\r\n"));
  EXPECT_THAT(client.Rest(), AllOf(HasSubstr("Connection: close"), EndsWith("GET /abs q=1 0 ")));
  RawClient old(server_->address());
  old.Send("GET /old HTTP/1.0\r\n\r\n");
  EXPECT_THAT(old.Rest(), EndsWith("GET /old 0 "));
}

TEST_F(HttpServerTest, AnswersPipelinedRequestsInTheirOrder) {
  Start();
  RawClient client(server_->address());
  client.Send(Get("/wait") + Get("/2") + absl::StrCat("POST /3", kHost) +
              "Content-Length: 2\r\n\r\nab" + Get("/4"));
  TakeWaiting().responder->Respond(Text("one"));
  EXPECT_THAT(client.Response(), EndsWith("\r\n\r\none"));
  EXPECT_THAT(client.Response(), EndsWith("GET /2 0 "));
  EXPECT_THAT(client.Response(), EndsWith("POST /3 2 ab"));
  EXPECT_THAT(client.Response(), EndsWith("GET /4 0 "));
}

TEST_F(HttpServerTest, ReadsChunkedBodiesByteByByte) {
  Start();
  RawClient client(server_->address());
  for (char c : absl::StrCat("POST /c", kHost, "Transfer-Encoding: chunked\r\n\r\n",
                             "5;x=y\r\nhello\r\n3\r\n, w\r\n0\r\nTrailer: t\r\n\r\n")) {
    ASSERT_TRUE(client.Send(std::string(1, c)));
  }
  EXPECT_THAT(client.Response(), EndsWith("\r\n\r\nPOST /c 8 hello, w"));
}

TEST_F(HttpServerTest, RefusesBodiesThatAreTooLongBeforeTheyCome) {
  options_.read.body_bytes = 10;
  Start();
  RawClient announced(server_->address());
  announced.Send(
      absl::StrCat("POST /", kHost, "Content-Length: 11\r\nExpect: 100-continue\r\n\r\n"));
  EXPECT_THAT(announced.Rest(),
              AllOf(StartsWith("HTTP/1.1 413 Content Too Large\r\n"), HasSubstr("--max-message-mb"),
                    HasSubstr("\"code\":\"INVALID_ARGUMENT\"")));
  RawClient chunked(server_->address());
  chunked.Send(
      absl::StrCat("POST /", kHost, "Transfer-Encoding: chunked\r\n\r\n", "6\r\nabcdef\r\n6\r\n"));
  EXPECT_THAT(chunked.Rest(), StartsWith("HTTP/1.1 413 "));
  RawClient whole(server_->address());
  whole.Send(absl::StrCat("POST /", kHost, "Content-Length: 10\r\n\r\n0123456789"));
  EXPECT_THAT(whole.Response(), EndsWith("POST / 10 0123456789"));
}

TEST_F(HttpServerTest, LetsAClientThatAsksFirstSendItsBody) {
  Start();
  RawClient client(server_->address());
  client.Send(absl::StrCat("POST /e", kHost, "Content-Length: 4\r\nExpect: 100-continue\r\n\r\n"));
  EXPECT_EQ(client.Response(), "HTTP/1.1 100 Continue\r\n\r\n");
  client.Send("body");
  EXPECT_THAT(client.Response(), AllOf(StartsWith("HTTP/1.1 200 "), EndsWith("POST /e 4 body")));
}

TEST_F(HttpServerTest, SaysWhatIsWrongWithARequestAndClosesTheConnection) {
  options_.read.header_bytes = 1024;
  Start();
  const std::pair<std::string, std::string> kCases[] = {
      {Get("/" + std::string(2000, 'x')), "431 Request Header Fields Too Large"},
      {absl::StrCat("GET /", kHost, "A: ", std::string(2000, 'x'), "\r\n\r\n"), "431 "},
      {"GET / HTTP/1.1\r\n\r\n", "400 Bad Request"},  // no Host
      {absl::StrCat("GET /", kHost, "Host: y\r\n\r\n"), "400 "},
      {Get("no-path"), "400 "},
      {Get("/?x=%4"), "400 "},
      {"\x16\x03\x01\x02 TLS, for example\r\n\r\n", "400 "},
      {std::string("\0\0\0\0\r\n\r\n", 8), "400 "},
      {absl::StrCat("POST /", kHost, "Content-Length: -1\r\n\r\n"), "400 "},
      {absl::StrCat("POST /", kHost, "Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), "400 "},
      {absl::StrCat("POST /", kHost, "Content-Length: 99999999999999999999\r\n\r\n"), "400 "},
      {absl::StrCat("POST /", kHost, "Transfer-Encoding: chunked\r\n\r\nxyz\r\n"), "400 "},
      {absl::StrCat("POST /", kHost, "Transfer-Encoding: chunked\r\n\r\n5;",
                    std::string(2000, 'x')),
       "400 "},
      {absl::StrCat("POST /", kHost,
                    "Transfer-Encoding: chunked\r\n\r\n0\r\nA: ", std::string(2000, 'x')),
       "400 "},
      {absl::StrCat("POST /", kHost, "Transfer-Encoding: gzip, chunked\r\n\r\n"),
       "501 Not Implemented"},
      {absl::StrCat("POST /", kHost, "Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx"),
       "501 "},
      {absl::StrCat("POST /", kHost, "Expect: wonders\r\nContent-Length: 1\r\n\r\nx"),
       "417 Expectation Failed"},
  };
  for (const auto& [request, status] : kCases) {
    RawClient client(server_->address());
    client.Send(request);
    EXPECT_THAT(client.Rest(),
                AllOf(StartsWith("HTTP/1.1 " + status), HasSubstr("Connection: close\r\n"),
                      HasSubstr("{\"error\":{\"code\":")))
        << request;
  }
}

TEST_F(HttpServerTest, DoesNotWaitForSlowClientsForever) {
  options_.header_time = options_.body_time = absl::Milliseconds(20);
  Start();
  RawClient header(server_->address());
  RawClient body(server_->address());
  header.Send("GET / HT");
  body.Send(absl::StrCat("POST /", kHost, "Content-Length: 5\r\n\r\nab"));
  EXPECT_THAT(header.Rest(), AllOf(StartsWith("HTTP/1.1 408 Request Timeout\r\n"),
                                   HasSubstr("the header didn't come within 20ms")));
  EXPECT_THAT(body.Rest(), AllOf(StartsWith("HTTP/1.1 408 "), HasSubstr("the body")));
}

TEST_F(HttpServerTest, ClosesIdleConnections) {
  options_.idle_time = absl::Milliseconds(20);
  Start();
  EXPECT_EQ(RawClient(server_->address()).Rest(), "");
  RawClient second(server_->address());
  second.Send(Get("/first"));
  EXPECT_THAT(second.Rest(), EndsWith("GET /first 0 "));
}

TEST_F(HttpServerTest, SlowAndIdleClientsHoldUpNobody) {
  Start();
  std::vector<std::unique_ptr<RawClient>> others;
  for (int i = 0; i < 80; ++i) {
    others.push_back(std::make_unique<RawClient>(server_->address()));
    if (i < 16) {
      others.back()->Send("GET /slow HTTP/1.1\r\nHost: ");
    } else {
      others.back()->Send(Get("/keep-alive"));
      others.back()->Response();
    }
  }
  RawClient client(server_->address());
  client.Send(Get("/healthz"));
  EXPECT_THAT(client.Response(), EndsWith("GET /healthz 0 "));
}

TEST_F(HttpServerTest, RefusesConnectionsBeyondItsLimit) {
  options_.max_connections = 1;
  Start();
  RawClient first(server_->address());
  first.Send(Get("/1"));
  EXPECT_THAT(first.Response(), EndsWith("GET /1 0 "));
  RawClient second(server_->address());
  second.Send(Get("/2"));
  EXPECT_THAT(second.Rest(),
              AllOf(StartsWith("HTTP/1.1 503 Service Unavailable\r\n"),
                    HasSubstr("Retry-After: 1\r\n"), HasSubstr("1 connections are open")));
  first.Send(Get("/1"));
  EXPECT_THAT(first.Response(), EndsWith("GET /1 0 "));
}

TEST_F(HttpServerTest, RefusesRequestsBeyondItsLimitButForUrgentOnes) {
  options_.max_requests = 1;
  options_.urgent_paths = {"/healthz"};
  Start();
  RawClient first(server_->address());
  first.Send(Get("/wait"));
  const Waiting waiting = TakeWaiting();
  RawClient second(server_->address());
  second.Send(Get("/2"));
  EXPECT_THAT(second.Response(),
              AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("1 requests wait already")));
  second.Send(Get("/healthz"));
  EXPECT_THAT(second.Response(), EndsWith("GET /healthz 0 "));
  waiting.responder->Respond(Text("one"));
  EXPECT_THAT(first.Response(), EndsWith("one"));
  second.Send(Get("/2"));
  EXPECT_THAT(second.Response(), EndsWith("GET /2 0 "));
}

TEST_F(HttpServerTest, UrgentRequestsTakeNoOthersPlace) {
  options_.max_requests = 1;
  options_.urgent_paths = {"/wait"};
  Start();
  RawClient urgent(server_->address());
  urgent.Send(Get("/wait"));
  const Waiting waiting = TakeWaiting();
  RawClient other(server_->address());
  other.Send(Get("/2"));
  EXPECT_THAT(other.Response(), EndsWith("GET /2 0 "));
  waiting.responder->Respond(Text("well"));
  EXPECT_THAT(urgent.Response(), EndsWith("well"));
}

TEST_F(HttpServerTest, AnswersTheFirstAnswerOnceAndDroppedRequestsWith500) {
  Start();
  RawClient client(server_->address());
  client.Send(Get("/wait"));
  const Waiting waiting = TakeWaiting();
  waiting.responder->Respond(Text("first"));
  waiting.responder->Respond(Text("second"));
  EXPECT_THAT(client.Response(), EndsWith("first"));
  client.Send(Get("/drop"));
  EXPECT_THAT(client.Response(), StartsWith("HTTP/1.1 500 Internal Server Error"));
}

// As curl and wget do: nothing that TLS adds may be lost or held back.
TEST_F(HttpServerTest, SpeaksTls) {
  UseTls();
  options_.read.body_bytes = int64_t{8} << 20;
  Start();
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    RawClient client(server_->address());
    ASSERT_TRUE(client.StartTls(authority_.certificate(), {}, "http/1.1", version));
    EXPECT_EQ(SSL_version(client.ssl()), version);
    const unsigned char* protocol = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(client.ssl(), &protocol, &size);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(protocol), size), "http/1.1");
    client.Send(Get("/1") + Get("/2"));
    EXPECT_THAT(client.Response(), EndsWith("GET /1 0 "));
    EXPECT_THAT(client.Response(), EndsWith("GET /2 0 "));
    client.Send(
        absl::StrCat("POST /e", kHost, "Content-Length: 4\r\nExpect: 100-continue\r\n\r\n"));
    EXPECT_EQ(client.Response(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.Send("body");
    EXPECT_THAT(client.Response(), EndsWith("POST /e 4 body"));
    std::string large;
    while (large.size() < 5'000'000) absl::StrAppend(&large, large.size(), " ");
    client.Send(
        absl::StrCat("POST /echo", kHost, "Content-Length: ", large.size(), "\r\n\r\n", large));
    const std::string echo = client.Response();
    EXPECT_TRUE(echo.substr(echo.find("\r\n\r\n") + 4) == large);
    client.Send(Get("/wait"));
    client.EndSending();
    TakeWaiting().responder->Respond(Text("for you"));
    EXPECT_THAT(client.Rest(), EndsWith("for you"));
    // The end is said, too, so that nobody else can have cut it off.
    EXPECT_EQ(SSL_get_shutdown(client.ssl()) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
  }
}

TEST_F(HttpServerTest, SaysToPlainHttpThatItSpeaksHttps) {
  UseTls();
  Start();
  RawClient plain(server_->address());
  plain.Send(Get("/"));
  EXPECT_THAT(plain.Rest(), AllOf(StartsWith("HTTP/1.1 400 "), HasSubstr("https://")));
  RawClient noise(server_->address());
  noise.Send("\x80" + std::string(100, '\xff'));
  noise.Rest();  // ends
}

TEST_F(HttpServerTest, WillNotSpeakTlsWithEveryone) {
  UseTls();
  options_.header_time = absl::Milliseconds(20);
  Start();
  EXPECT_FALSE(RawClient(server_->address()).StartTls("", {}, "http/1.1", TLS1_1_VERSION));
  EXPECT_FALSE(RawClient(server_->address()).StartTls("", {}, "h2"));
  TestAuthority stranger("stranger");
  EXPECT_FALSE(RawClient(server_->address()).StartTls(stranger.certificate()));
  RawClient silent(server_->address());
  EXPECT_EQ(silent.Rest(), "");
  RawClient half(server_->address());
  half.Send(std::string("\x16\x03\x01\x02\x00", 5));
  EXPECT_EQ(half.Rest(), "");
}

TEST_F(HttpServerTest, KnowsAClientByItsCertificateAndAsksNobodyElseForOne) {
  material_.client_ca = authority_.certificate();
  UseTls();
  Start();
  const PemPair pair =
      authority_.Issue("board", "DNS:b.example,URI:spiffe://x/b,IP:10.0.0.1,email:b@x");
  const auto ask = [&](const PemPair& own) {
    RawClient client(server_->address());
    client.StartTls(authority_.certificate(), own);
    client.Send(absl::StrCat("GET /wait", kHost, "Connection: close\r\n\r\n"));
    const Waiting waiting = TakeWaiting();
    waiting.responder->Respond(Text("x"));
    EXPECT_THAT(client.Rest(), EndsWith("x"));
    EXPECT_TRUE(waiting.request.encrypted);
    return waiting.request.certificate_names;
  };
  EXPECT_THAT(ask(pair),
              ::testing::ElementsAre("board", "b.example", "spiffe://x/b", "10.0.0.1", "b@x"));
  EXPECT_THAT(ask({}), ::testing::IsEmpty());
  TestAuthority stranger("stranger");
  RawClient client(server_->address());
  client.StartTls(authority_.certificate(), stranger.Issue("board"));
  client.Send(Get("/"));
  EXPECT_EQ(client.Rest(), "");
}

TEST_F(HttpServerTest, TakesANewCertificateForNewConnections) {
  UseTls();
  Start();
  RawClient before(server_->address());
  ASSERT_TRUE(before.StartTls(authority_.certificate()));
  TestAuthority other("other");
  authority_ = other;
  UseTls();
  RawClient after(server_->address());
  EXPECT_TRUE(after.StartTls(other.certificate()));
  before.Send(Get("/1"));
  EXPECT_THAT(before.Response(), EndsWith("GET /1 0 "));
}

TEST_F(HttpServerTest, AnswersWhoIsRefusedBeforeItsBodyComes) {
  Start();
  for (const char* more : {"Content-Length: 1000000\r\n", "Transfer-Encoding: chunked\r\n",
                           "Content-Length: 9\r\nExpect: 100-continue\r\n"}) {
    RawClient client(server_->address());
    client.Send(absl::StrCat("POST /refused", kHost, more, "\r\n"));
    EXPECT_THAT(client.Rest(),
                AllOf(StartsWith("HTTP/1.1 403 "), HasSubstr("Connection: close\r\n")))
        << more;
  }
  // Whose body is here already needn't go.
  RawClient whole(server_->address());
  whole.Send(absl::StrCat("POST /refused", kHost, "Content-Length: 2\r\n\r\nab", Get("/next")));
  EXPECT_THAT(whole.Response(), StartsWith("HTTP/1.1 403 "));
  EXPECT_THAT(whole.Response(), EndsWith("GET /next 0 "));
}

TEST_F(HttpServerTest, TakesABodyIntoItsBoundUntilItIsAnswered) {
  options_.waiting_body_bytes = 1000;
  Start();
  const std::string post =
      absl::StrCat("POST /wait", kHost, "Content-Length: 900\r\n\r\n", std::string(900, 'x'));
  RawClient gone(server_->address());
  gone.Send(post);
  const Waiting held = TakeWaiting();
  gone.Reset();
  while (held.responder->StillWanted().ok()) std::this_thread::yield();
  RawClient other(server_->address());
  other.Send(post);
  EXPECT_THAT(other.Rest(), StartsWith("HTTP/1.1 503 "));
  held.responder->Respond(Text("for nobody"));
  RawClient third(server_->address());
  third.Send(post);
  TakeWaiting().responder->Respond(Text("for you"));
  EXPECT_THAT(third.Response(), EndsWith("for you"));
}

TEST_F(HttpServerTest, ClosesWhoHasLeftAnAnswerUnreadForLongest) {
  options_.waiting_answer_bytes = int64_t{100} << 20;
  Start();
  const std::string large(size_t{40} << 20, 'x');
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<RawClient>(server_->address()));
    clients.back()->Send(Get("/wait"));
    TakeWaiting().responder->Respond(Text(large));
    // It has begun when the next one is answered.
    RawClient next(server_->address());
    next.Send(Get("/next"));
    next.Response();
  }
  EXPECT_LT(clients[0]->Response().size(), large.size());
  EXPECT_GT(clients[1]->Response().size(), large.size());
  EXPECT_GT(clients[2]->Response().size(), large.size());
}

// How far a client may send ahead while its request is being answered.
TEST_F(HttpServerTest, ReadsSoFarAheadAndNoFurther) {
  Start();
  RawClient client(server_->address());
  client.Send(Get("/wait"));
  const Waiting waiting = TakeWaiting();
  const size_t taken = client.SendWhileTaken(size_t{64} << 20);
  EXPECT_LT(taken, size_t{64} << 20);
  waiting.responder->Respond(Text("one"));
  EXPECT_THAT(client.Response(), EndsWith("one"));
}

TEST_F(HttpServerTest, TellsOfWhatItRefusesItself) {
  absl::Mutex mu;
  std::vector<int> refused;
  options_.on_refused = [&](const HttpResponse& response, const std::string& peer) {
    absl::MutexLock lock(&mu);
    EXPECT_THAT(peer, StartsWith("127.0.0.1:"));
    refused.push_back(response.status);
    return std::string("its-id");
  };
  options_.read.body_bytes = 10;
  Start();
  for (const std::string& request :
       {Get("no-path"), absl::StrCat("POST /", kHost, "Content-Length: 11\r\n\r\n")}) {
    RawClient client(server_->address());
    client.Send(request);
    EXPECT_THAT(client.Rest(), HasSubstr("\r\nX-Request-Id: its-id\r\n"));
  }
  server_ = nullptr;
  EXPECT_THAT(refused, ::testing::ElementsAre(400, 413));
}

TEST_F(HttpServerTest, NamesWhatItAnswersWithAnErrorAndNothingElse) {
  Start();
  RawClient client(server_->address());
  client.Send(absl::StrCat("GET /fine", kHost, "X-Request-Id: mine\r\n\r\n"));
  EXPECT_THAT(client.Response(), Not(HasSubstr("X-Request-Id")));
  client.Send(absl::StrCat("GET /refused", kHost, "X-Request-Id: mine\r\n\r\n"));
  EXPECT_THAT(client.Response(), HasSubstr("\r\nX-Request-Id: mine\r\n"));
}

TEST_F(HttpServerTest, NamesAnAdmittedRequestWhoseBodyItRefuses) {
  options_.read.body_bytes = 10;
  Start();
  RawClient client(server_->address());
  client.Send(absl::StrCat(
      "POST /", kHost,
      "X-Request-Id: mine\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"));
  EXPECT_EQ(client.Response(), "HTTP/1.1 100 Continue\r\n\r\n");
  client.Send("b\r\nabcdefghijk\r\n");
  const std::string answer = client.Rest();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(answer, HasSubstr("\r\nX-Request-Id: mine\r\n"));
}

TEST_F(HttpServerTest, AnAbsoluteTargetsHostCounts) {
  for (const auto& [target, host] : {std::pair<std::string, std::string>{"http://a:1/x?q", "a:1"},
                                     {"HTTPS://b?q", "b"},
                                     {"/x", "x"}}) {
    const auto reader = HttpRequestReader::New({});
    std::string left;
    ASSERT_EQ(Feed(*reader, left, Get(target)), HttpRequestReader::State::kWhole) << target;
    EXPECT_EQ(Find(reader->request().headers, "host"), host);
    EXPECT_EQ(reader->request().path, target[0] == 'H' ? "/" : "/x");
  }
  for (const char* target : {"ftp://a/x", "http:///x", "http://user@a/x", "a/x"}) {
    const auto reader = HttpRequestReader::New({});
    std::string left;
    EXPECT_EQ(Feed(*reader, left, Get(target)), HttpRequestReader::State::kRefused) << target;
  }
}

TEST_F(HttpServerTest, TellsWhenAClientHasGone) {
  Start();
  for (const bool reset : {true, false}) {
    RawClient client(server_->address());
    client.Send(Get("/wait"));
    const Waiting waiting = TakeWaiting();
    EXPECT_TRUE(waiting.responder->StillWanted().ok());
    reset ? client.Reset() : client.Close();
    while (waiting.responder->StillWanted().ok()) std::this_thread::yield();
    EXPECT_EQ(waiting.responder->StillWanted().code(), absl::StatusCode::kCancelled);
    waiting.responder->Respond(Text("for nobody"));
  }
  // Whoever has only said that nothing more will come is answered.
  RawClient half(server_->address());
  half.Send(Get("/wait"));
  half.EndSending();
  const Waiting wanted = TakeWaiting();
  RawClient next(server_->address());
  next.Send(Get("/next"));
  next.Response();
  EXPECT_TRUE(wanted.responder->StillWanted().ok());
  wanted.responder->Respond(Text("for you"));
  EXPECT_THAT(half.Rest(), EndsWith("for you"));
}

TEST_F(HttpServerTest, DrainsThenStops) {
  options_.urgent_paths = {"/healthz"};
  Start();
  const std::string address = server_->address();
  RawClient first(address);
  RawClient second(address);
  RawClient third(address);
  first.Send(Get("/wait"));
  const Waiting waiting = TakeWaiting();
  server_->Drain();
  second.Send(Get("/2"));
  EXPECT_THAT(second.Rest(), AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("stopping")));
  third.Send(Get("/healthz"));
  EXPECT_THAT(third.Rest(), EndsWith("GET /healthz 0 "));
  std::thread stop([&] { server_->Stop(absl::InfiniteFuture()); });
  waiting.responder->Respond(Text("accepted"));
  EXPECT_THAT(first.Rest(), AllOf(HasSubstr("Connection: close"), EndsWith("accepted")));
  stop.join();
}

TEST_F(HttpServerTest, GivesUpAtItsDeadline) {
  Start();
  RawClient client(server_->address());
  client.Send(Get("/wait"));
  const Waiting waiting = TakeWaiting();
  server_->Stop(absl::Now());
  EXPECT_EQ(client.Rest(), "");
  EXPECT_EQ(waiting.responder->StillWanted().code(), absl::StatusCode::kCancelled);
  server_ = nullptr;
  waiting.responder->Respond(Text("too late"));
}

TEST_F(HttpServerTest, AnAddressThatCannotBeHadIsAnErrorThatNamesIt) {
  Start();
  options_.address = server_->address();
  const absl::Status status = HttpServer::Start(options_, nullptr).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()),
              AllOf(StartsWith("--http-address: "), HasSubstr(options_.address),
                    HasSubstr("another program")));
}

}  // namespace
}  // namespace convd
