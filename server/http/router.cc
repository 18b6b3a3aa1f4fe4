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
#include "server/auth/request_id.h"
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

// In the form that the path's protocol has.
HttpResponse ErrorOf(const HttpRequest& request, int http_status, const absl::Status& status) {
  const bool inference = request.path == "/v2" || absl::StartsWith(request.path, "/v2/");
  return inference ? InferenceErrorResponse(http_status, status)
                   : ErrorResponse(http_status, status);
}

// By Admission.
HttpResponse Refused(const HttpRequest& request, const absl::Status& status) {
  HttpResponse response = ErrorOf(request, HttpStatusOf(status.code()), status);
  if (response.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (const absl::Duration wait = RetryAfter(status); wait > absl::ZeroDuration()) {
    for (auto& [name, value] : response.headers) {
      if (name != "Retry-After") continue;
      value = absl::StrCat(absl::ToInt64Seconds(absl::Ceil(wait, absl::Seconds(1))));
    }
  }
  return response;
}

}  // namespace

Route::Route(std::string method_in, std::string pattern_in, Scope scope_in, HttpHandler handler_in)
    : method(std::move(method_in)),
      pattern(std::move(pattern_in)),
      scope(scope_in),
      handler(std::move(handler_in)),
      segments(absl::StrSplit(pattern, '/')),
      name(absl::StrCat(method, " ", pattern)) {}

// Tells of the answer that it passes on, and keeps the request's place until then.
class Router::Observed final : public Responder {
 public:
  Observed(const HttpRequest& request, std::shared_ptr<Responder> responder,
           const Answered& answered)
      : responder_(std::move(responder)),
        answered_(answered),
        request_id_(Find(request.headers, "x-request-id")),
        trace_id_(TraceId(Find(request.headers, "traceparent"))),
        peer_(request.peer) {
    responder_->NameRequest(std::string(request_id_.text()));
  }

  // Whoever dropped it did so without an answer.
  ~Observed() override {
    if (responded_) return;
    const absl::Status wanted = responder_->StillWanted();
    Respond(ErrorResponse(wanted.ok() ? absl::InternalError("the request was dropped") : wanted));
  }

  // Before it is handed on.
  void Set(const Route& route, absl::string_view model) {
    route_ = route.name;
    audited_ = route.scope == Scope::kTrain || route.scope == Scope::kAdmin;
    model_ = std::string(model.substr(0, kMostModel));
  }
  const absl::Status& Hold(Admitted admitted) {
    admitted_ = std::move(admitted);
    return admitted_.status();
  }
  void Respond(HttpResponse response) override {
    if (!responded_.exchange(true)) {
      if (answered_ != nullptr) Tell(response.outcome);
      // Free before the client knows, so that its next request finds the place.
      Admitted over;
      std::swap(over, admitted_);
    }
    responder_->Respond(std::move(response));
  }
  absl::Status StillWanted() const override { return responder_->StillWanted(); }

 private:
  static constexpr size_t kMostModel = 64;  // of a name that may be one

  void Tell(const absl::Status& status) const {
    // As over gRPC, whoever is refused for calling too often isn't audited: the target is left out.
    const bool named = audited_ && !absl::IsResourceExhausted(admitted_.status());
    const std::string target = named ? absl::StrCat("model ", model_) : "";
    const auto peer = [this] { return peer_; };
    const absl::string_view id = request_id_.text();
    answered_({.method = route_,
               .audited = audited_,
               .status = status,
               .duration = Clock::Real().Monotonic() - begun_,
               .principal = admitted_.principal(),
               .request_id = {id.data(), id.size()},
               .trace_id = trace_id_,
               .target = target,
               .model = model_,
               .peer = peer});
  }

  const std::shared_ptr<Responder> responder_;
  const Answered& answered_;
  const absl::Duration begun_ = Clock::Real().Monotonic();
  const RequestId request_id_;
  const std::string trace_id_, peer_;
  std::string route_ = "other";
  bool audited_ = false;
  std::string model_;
  Admitted admitted_;
  std::atomic<bool> responded_{false};
};

HttpGoOn Router::Admit(const HttpRequest& request, std::shared_ptr<Responder> responder) const {
  const auto observed = std::make_shared<Observed>(request, std::move(responder), answered_);
  responder = observed;
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
    const bool of_model = absl::StartsWith(route.pattern, "/v1/models/") ||
                          absl::StartsWith(route.pattern, "/v2/models/") ||
                          absl::StartsWith(route.pattern, "/v2/repository/models/");
    observed->Set(route, of_model ? Find(values, "name") : "");
    const absl::Status& status = observed->Hold(authorize_(request, route.scope));
    if (!status.ok()) {
      responder->Respond(Refused(request, status));
      return nullptr;
    }
    const absl::string_view length = Find(request.headers, "content-length");
    const bool has_body =
        (!length.empty() && length != "0") || !Find(request.headers, "transfer-encoding").empty();
    if (route.scope == Scope::kNone && has_body) {
      responder->Respond(ErrorOf(
          request, 413, absl::InvalidArgumentError("body: nobody reads one here; want none")));
      return nullptr;
    }
    return [&route, values = std::move(values), responder](HttpRequest whole) {
      whole.path_values = values;
      route.handler(std::move(whole), responder);
    };
  }
  if (allowed.empty() && request.path != "*") {
    const std::string what_is_there =
        absl::StrJoin(routes_, ", ", [](std::string* out, const Route& route) {
          absl::StrAppend(out, route.method, " ", route.pattern);
        });
    responder->Respond(ErrorOf(
        request, 404,
        absl::NotFoundError(absl::StrCat("nothing is at this path; there are ", what_is_there))));
    return nullptr;
  }
  if (request.path == "*") allowed = {"GET", "HEAD", "POST"};
  allowed.push_back("OPTIONS");
  std::sort(allowed.begin(), allowed.end());
  allowed.erase(std::unique(allowed.begin(), allowed.end()), allowed.end());
  const std::string allow = absl::StrJoin(allowed, ", ");
  HttpResponse response;
  response.status = 204;
  if (method != "OPTIONS") {
    response =
        ErrorOf(request, 405,
                absl::UnimplementedError(absl::StrCat("this path takes ", allow, " and no other")));
  }
  response.headers.emplace_back("Allow", allow);
  responder->Respond(std::move(response));
  return nullptr;
}

}  // namespace convd
