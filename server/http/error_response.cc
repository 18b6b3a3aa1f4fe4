#include "server/http/error_response.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

namespace convd {
namespace {

constexpr size_t kMaxMessage = 4096;

std::string MessageOf(const absl::Status& status) {
  const absl::string_view message = status.message().substr(0, kMaxMessage);
  return std::string(message.data(), message.size());
}

HttpResponse ResponseWith(int http_status, const absl::Status& status,
                          nlohmann::ordered_json error) {
  HttpResponse response;
  response.status = http_status;
  response.outcome = absl::Status(status.code(), MessageOf(status));
  response.content_type = "application/json";
  if (http_status == 429 || http_status == 503) response.headers.emplace_back("Retry-After", "1");
  nlohmann::ordered_json json;
  json["error"] = std::move(error);
  // Messages repeat what came from outside, which need not be UTF-8.
  response.body = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  return response;
}

}  // namespace

absl::string_view Find(const std::vector<NameValue>& values, absl::string_view name) {
  const auto found = std::find_if(values.begin(), values.end(),
                                  [name](const NameValue& v) { return v.first == name; });
  return found == values.end() ? absl::string_view() : absl::string_view(found->second);
}

int HttpStatusOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
      return 200;
    case absl::StatusCode::kCancelled:
      return 499;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kAborted:
      return 409;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kUnimplemented:
      return 501;
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;  // UNKNOWN, INTERNAL, DATA_LOSS
  }
}

absl::Status TooManyRequests() {
  return absl::ResourceExhaustedError("too many requests wait already; try again in a moment");
}

HttpResponse ErrorResponse(const absl::Status& status) {
  return ErrorResponse(HttpStatusOf(status.code()), status);
}

HttpResponse ErrorResponse(int http_status, const absl::Status& status) {
  nlohmann::ordered_json error;
  error["code"] = absl::StatusCodeToString(status.code());
  error["message"] = MessageOf(status);
  return ResponseWith(http_status, status, std::move(error));
}

HttpResponse InferenceErrorResponse(const absl::Status& status) {
  return InferenceErrorResponse(HttpStatusOf(status.code()), status);
}

HttpResponse InferenceErrorResponse(int http_status, const absl::Status& status) {
  return ResponseWith(http_status, status, MessageOf(status));
}

const char* ReasonPhrase(int http_status) {
  constexpr std::pair<int, const char*> kPhrases[] = {
      {200, "OK"},
      {204, "No Content"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {413, "Content Too Large"},
      {417, "Expectation Failed"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {499, "Client Closed Request"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
  };
  for (const auto& [status, phrase] : kPhrases) {
    if (status == http_status) return phrase;
  }
  return "";
}

}  // namespace convd
