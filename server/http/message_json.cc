#include "server/http/message_json.h"

#include <google/protobuf/util/json_util.h>

#include "absl/strings/str_cat.h"
#include "server/http/error_response.h"

namespace convd {
namespace {

// Of what protobuf says, which repeats what came.
constexpr size_t kMaxShown = 300;

template <typename Status>
std::string Shown(const Status& status) {
  const auto message = status.message();
  return std::string(message.data(), message.size()).substr(0, kMaxShown);
}

}  // namespace

HttpResponse JsonResponse(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  HttpResponse response;
  response.content_type = "application/json";
  const auto status = google::protobuf::util::MessageToJsonString(message, &response.body, options);
  if (!status.ok()) return ErrorResponse(absl::InternalError(Shown(status)));
  response.body += '\n';
  return response;
}

absl::Status ParseJson(const std::string& text, google::protobuf::Message& message) {
  const auto status = google::protobuf::util::JsonStringToMessage(text, &message);
  if (status.ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("body: not ", message.GetDescriptor()->full_name(),
                                                 " in protobuf's JSON form: ", Shown(status)));
}

}  // namespace convd
