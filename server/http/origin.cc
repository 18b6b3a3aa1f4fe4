#include "server/http/origin.h"

#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "server/config.h"

namespace convd {
namespace {

// Without the port, and without an IPv6 address's brackets.
absl::string_view WithoutPort(absl::string_view host) {
  const size_t bracket = host.find(']');
  if (absl::ConsumePrefix(&host, "[") && bracket != absl::string_view::npos) {
    return host.substr(0, bracket - 1);
  }
  return host.substr(0, host.rfind(':'));
}

}  // namespace

absl::Status CheckOrigin(const HttpRequest& request, bool loopback) {
  const absl::string_view host = Find(request.headers, "host");
  absl::string_view origin = Find(request.headers, "origin");
  if (!origin.empty() &&
      !(absl::ConsumePrefix(&origin, request.encrypted ? "https://" : "http://") &&
        absl::EqualsIgnoreCase(origin, host))) {
    return absl::PermissionDeniedError(
        "origin: pages of other sites may not call this server unless requests carry tokens "
        "(--tokens)");
  }
  if (loopback) {
    const absl::string_view name = WithoutPort(host);
    if (!IsLoopback(std::string_view(name.data(), name.size()))) {
      return absl::PermissionDeniedError(
          "host: this server listens on this machine alone and asks for no token, so it answers "
          "for localhost, 127.0.0.1 and [::1] only; a proxy has to send one of them, or give "
          "--tokens");
    }
  }
  return absl::OkStatus();
}

}  // namespace convd
