#include "server/http/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/http/error_response.h"

namespace convd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class KeptAnswer final : public Responder {
 public:
  void Respond(HttpResponse response) override { this->response = std::move(response); }
  absl::Status StillWanted() const override { return wanted; }
  HttpResponse response;
  absl::Status wanted;
};

class RouterTest : public ::testing::Test {
 protected:
  RouterTest() {
    for (const auto& [method, pattern, scope] :
         {std::tuple{"GET", "/healthz", Scope::kNone},
          std::tuple{"GET", "/v1/models", Scope::kRead},
          std::tuple{"GET", "/v1/models/{name}", Scope::kRead},
          std::tuple{"POST", "/v1/models/{name}:predict", Scope::kPredict},
          std::tuple{"GET", "/v1/models/{name}/versions/{n}", Scope::kRead}}) {
      router_.Add(Route(method, pattern, scope,
                        [pattern = std::string(pattern)](HttpRequest request,
                                                         std::shared_ptr<Responder> responder) {
                          HttpResponse response;
                          response.body = pattern;
                          for (const NameValue& value : request.path_values) {
                            absl::StrAppend(&response.body, " ", value.first, "=", value.second);
                          }
                          responder->Respond(response);
                        }));
    }
  }

  HttpResponse Ask(const std::string& method, const std::string& path) {
    const auto answer = std::make_shared<KeptAnswer>();
    HttpRequest request;
    request.method = method;
    request.path = path;
    if (const HttpGoOn go_on = router_.Admit(request, answer)) go_on(std::move(request));
    return answer->response;
  }

  Scope asked_ = Scope::kNone;
  absl::Status allowed_;
  Router router_{[this](const HttpRequest&, Scope scope) -> Admitted {
    asked_ = scope;
    return Admitted(allowed_);
  }};
};

TEST_F(RouterTest, FindsRoutesAndWhatStandsForTheirNames) {
  EXPECT_EQ(Ask("GET", "/healthz").body, "/healthz");
  EXPECT_EQ(Ask("HEAD", "/healthz").body, "/healthz");
  EXPECT_EQ(Ask("GET", "/v1/models").body, "/v1/models");
  EXPECT_EQ(Ask("GET", "/v1/models/a-b").body, "/v1/models/{name} name=a-b");
  EXPECT_EQ(Ask("GET", "/v1/models/%61%2Fb").body, "/v1/models/{name} name=a/b");
  EXPECT_EQ(Ask("POST", "/v1/models/a:predict").body, "/v1/models/{name}:predict name=a");
  EXPECT_EQ(Ask("GET", "/v1/models/a/versions/3").body,
            "/v1/models/{name}/versions/{n} name=a n=3");
}

TEST_F(RouterTest, SaysWhatThereIsInstead) {
  for (const char* path : {"/", "", "/v1", "/v1/models/", "/v1/models/a/", "/v1/models/a:explain",
                           "/v1/models/:predict", "/v1/models/%4", "//healthz",
                           "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t"}) {
    const HttpResponse response = Ask("GET", path);
    EXPECT_EQ(response.status, 404) << path;
    EXPECT_THAT(response.body, AllOf(HasSubstr("\"NOT_FOUND\""), HasSubstr("GET /healthz, "),
                                     HasSubstr("POST /v1/models/{name}:predict")));
  }
  const HttpResponse wrong = Ask("DELETE", "/v1/models");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(Find(wrong.headers, "Allow"), "GET, HEAD, OPTIONS");
  const HttpResponse get = Ask("GET", "/v1/models/a:predict");
  EXPECT_EQ(get.status, 405);
  EXPECT_EQ(Find(get.headers, "Allow"), "OPTIONS, POST");
  const HttpResponse options = Ask("OPTIONS", "/v1/models/a:predict");
  EXPECT_EQ(options.status, 204);
  EXPECT_EQ(Find(options.headers, "Allow"), "OPTIONS, POST");
  EXPECT_EQ(Ask("OPTIONS", "*").status, 204);
}

TEST_F(RouterTest, AsksForTheRoutesScopeFirst) {
  Ask("POST", "/v1/models/a:predict");
  EXPECT_EQ(asked_, Scope::kPredict);
  allowed_ = absl::PermissionDeniedError("no");
  EXPECT_EQ(Ask("GET", "/v1/models").status, 403);
  EXPECT_EQ(asked_, Scope::kRead);
  allowed_ = absl::UnauthenticatedError("who?");
  const HttpResponse unknown = Ask("GET", "/v1/models");
  EXPECT_EQ(unknown.status, 401);
  EXPECT_EQ(Find(unknown.headers, "WWW-Authenticate"), "Bearer");
}

// Whoever counts requests counts each once, whatever becomes of it.
TEST(RouterAnsweredTest, TellsOfRequestsThatAreDroppedAndWhatWasSaidOfThem) {
  std::vector<std::pair<std::string, absl::Status>> told;
  Router router(
      [](const HttpRequest&, Scope) { return Admitted(absl::OkStatus()); },
      [&](const FinishedCall& call) { told.emplace_back(std::string(call.method), call.status); });
  router.Add(Route("GET", "/drop", Scope::kRead,
                   [](const HttpRequest&, const std::shared_ptr<Responder>&) {}));
  router.Add(Route("GET", "/refuse", Scope::kRead,
                   [](const HttpRequest&, const std::shared_ptr<Responder>& responder) {
                     responder->Respond(ErrorResponse(absl::NotFoundError("none here")));
                   }));
  const auto answer = std::make_shared<KeptAnswer>();
  for (const char* path : {"/drop", "/refuse"}) {
    HttpRequest request;
    request.method = "GET";
    request.path = path;
    router.Admit(request, answer)(request);
  }
  answer->wanted = absl::CancelledError("gone");
  HttpRequest unread;
  unread.method = "GET";
  unread.path = "/drop";
  router.Admit(unread, answer);  // its body never comes
  ASSERT_EQ(told.size(), 3u);
  EXPECT_EQ(told[0].first, "GET /drop");
  EXPECT_EQ(told[0].second.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(told[1].second, absl::NotFoundError("none here"));
  EXPECT_EQ(told[2].second, absl::CancelledError("gone"));
}

// The numbers beside the codes in google/rpc/code.proto.
TEST(ErrorResponseTest, MapsCodesAsGoogleApisDo) {
  using Code = absl::StatusCode;
  for (const auto& [code, status] : {std::pair{Code::kCancelled, 499},
                                     {Code::kUnknown, 500},
                                     {Code::kInvalidArgument, 400},
                                     {Code::kDeadlineExceeded, 504},
                                     {Code::kNotFound, 404},
                                     {Code::kAlreadyExists, 409},
                                     {Code::kPermissionDenied, 403},
                                     {Code::kUnauthenticated, 401},
                                     {Code::kResourceExhausted, 429},
                                     {Code::kFailedPrecondition, 400},
                                     {Code::kAborted, 409},
                                     {Code::kOutOfRange, 400},
                                     {Code::kUnimplemented, 501},
                                     {Code::kInternal, 500},
                                     {Code::kUnavailable, 503},
                                     {Code::kDataLoss, 500}}) {
    EXPECT_EQ(ErrorResponse(absl::Status(code, "x")).status, status) << code;
  }
  EXPECT_EQ(ErrorResponse(absl::NotFoundError("no \"x\xff\"")).body,
            "{\"error\":{\"code\":\"NOT_FOUND\",\"message\":\"no \\\"x\xef\xbf\xbd\\\"\"}}\n");
}

}  // namespace
}  // namespace convd
