#ifndef CONVD_SERVER_AUTH_REQUEST_ID_H_
#define CONVD_SERVER_AUTH_REQUEST_ID_H_

#include <array>

#include "absl/strings/string_view.h"

namespace convd {

// By which logs of client and server name one call: the client's own word where it is 1 to 64 of
// A-Z a-z 0-9 . _ -, else 16 hex digits that no other call of this process has. A plain value.
class RequestId {
 public:
  RequestId() = default;
  explicit RequestId(absl::string_view from_client);
  absl::string_view text() const { return {text_.data(), size_}; }

 private:
  std::array<char, 64> text_;
  size_t size_ = 0;
};

// The trace id within a W3C traceparent header, 32 lower-case hex digits; empty where the header
// isn't one.
absl::string_view TraceId(absl::string_view traceparent);

}  // namespace convd

#endif  // CONVD_SERVER_AUTH_REQUEST_ID_H_
