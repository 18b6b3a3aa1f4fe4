#include "server/http/router.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/time/clock.h"
#include "server/http/error_response.h"
#include "server/http/request_reader.h"

namespace convd {
namespace {

// Patterns have fewer, so what has more needn't be looked at.
constexpr size_t kMaxSegments = 16;

// Whether `segment`, still encoded, is what `pattern` says, and what it has in the place of a name.
bool Matches(absl::string_view pattern, absl::string_view segment, std::vector<NameValue>& values) {
  std::string decoded;
  if (!PercentDecode(segment, false, decoded)) return false;
  const size_t end = pattern.find('}');
  if (!absl::StartsWith(pattern, "{") || end == pattern.npos) return decoded == pattern;
  absl::string_view value = decoded;
  const absl::string_view verb = pattern.substr(end + 1);
  if (!absl::ConsumeSuffix(&value, verb) || value.empty()) return false;
  // A name has no colon, so what has one is meant for a verb, if perhaps another one.
  if (verb.empty() && absl::StrContains(value, ":")) return false;
  values.emplace_back(std::string(pattern.substr(1, end - 1)), std::string(value));
  return true;
}

bool Matches(const Route& route, const std::vector<absl::string_view>& segments,
             std::vector<NameValue>& values) {
  values.clear();
  if (segments.size() != route.segments.size()) return false;
  for (size_t i = 0; i < segments.size(); ++i) {
    if (!Matches(route.segments[i], segments[i], values)) return false;
  }
  return true;
}

}  // namespace

Route::Route(std::string method_in, std::string pattern_in, Scope scope_in, HttpHandler handler_in)
    : method(std::move(method_in)),
      pattern(std::move(pattern_in)),
      scope(scope_in),
      handler(std::move(handler_in)),
      segments(absl::StrSplit(pattern, '/')),
      name(absl::StrCat(method, " ", pattern)) {}

// Tells of the answer that it passes on.
class Router::Observed final : public Responder {
 public:
  Observed(std::shared_ptr<Responder> responder, const Answered& answered)
      : responder_(std::move(responder)), answered_(answered) {}

  // Before it is handed on.
  void Set(const Route& route, absl::string_view model) {
    route_ = route.name;
    model_ = std::string(model);
  }
  void Respond(HttpResponse response) override {
    if (!responded_.exchange(true)) {
      answered_(route_, model_, response.code, Clock::Real().Monotonic() - begun_);
    }
    responder_->Respond(std::move(response));
  }
  absl::Status StillWanted() const override { return responder_->StillWanted(); }

 private:
  const std::shared_ptr<Responder> responder_;
  const Answered& answered_;
  const absl::Duration begun_ = Clock::Real().Monotonic();
  std::string route_ = "other";
  std::string model_;
  std::atomic<bool> responded_{false};
};

void Router::Handle(HttpRequest request, std::shared_ptr<Responder> responder) const {
  std::shared_ptr<Observed> observed;
  if (answered_ != nullptr) {
    responder = observed = std::make_shared<Observed>(std::move(responder), answered_);
  }
  const std::string method = request.method == "HEAD" ? "GET" : request.method;
  const std::vector<absl::string_view> segments =
      absl::StrSplit(request.path, absl::MaxSplits('/', kMaxSegments));
  std::vector<std::string> allowed;
  std::vector<NameValue> values;
  for (const Route& route : routes_) {
    if (!Matches(route, segments, values)) continue;
    if (route.method != method) {
      allowed.push_back(route.method);
      if (route.method == "GET") allowed.push_back("HEAD");
      continue;
    }
    if (observed != nullptr) {
      const bool of_model = absl::StartsWith(route.pattern, "/v1/models/");
      observed->Set(route, of_model ? Find(values, "name") : "");
    }
    if (absl::Status status = authorize_(request, route.scope); !status.ok()) {
      HttpResponse response = ErrorResponse(status);
      if (response.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
      return responder->Respond(std::move(response));
    }
    request.path_values = std::move(values);
    return route.handler(std::move(request), responder);
  }
  if (allowed.empty() && request.path != "*") {
    const std::string what_is_there =
        absl::StrJoin(routes_, ", ", [](std::string* out, const Route& route) {
          absl::StrAppend(out, route.method, " ", route.pattern);
        });
    return responder->Respond(ErrorResponse(
        absl::NotFoundError(absl::StrCat("nothing is at this path; there are ", what_is_there))));
  }
  if (request.path == "*") allowed = {"GET", "HEAD", "POST"};
  allowed.push_back("OPTIONS");
  std::sort(allowed.begin(), allowed.end());
  allowed.erase(std::unique(allowed.begin(), allowed.end()), allowed.end());
  const std::string allow = absl::StrJoin(allowed, ", ");
  HttpResponse response;
  response.status = 204;
  if (method != "OPTIONS") {
    response = ErrorResponse(
        405, absl::UnimplementedError(absl::StrCat("this path takes ", allow, " and no other")));
  }
  response.headers.emplace_back("Allow", allow);
  responder->Respond(std::move(response));
}

}  // namespace convd
