#ifndef CONVD_SERVER_HTTP_MESSAGE_JSON_H_
#define CONVD_SERVER_HTTP_MESSAGE_JSON_H_

#include <string>

#include "absl/status/status.h"
#include "google/protobuf/message.h"
#include "server/http/http.h"

namespace convd {

// Messages in protobuf's JSON form, so that HTTP says what gRPC says. Any thread may call.

// 200 with the message, fields at their defaults included.
HttpResponse JsonResponse(const google::protobuf::Message& message);

// INVALID_ARGUMENT, beginning with "body: ", where it is no such JSON.
absl::Status ParseJson(const std::string& text, google::protobuf::Message& message);

}  // namespace convd

#endif  // CONVD_SERVER_HTTP_MESSAGE_JSON_H_
