#include "client/address.h"

#include <arpa/inet.h>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace convd {

absl::Status CheckServerAddress(const std::string& whole) {
  const std::string address(absl::StripPrefix(whole, kTlsScheme));
  const auto wrong = [&](const std::string& why) {
    return absl::InvalidArgumentError(
        absl::StrCat("server address \"", absl::CHexEscape(address.substr(0, 100)), "\" ", why,
                     "; write HOST:PORT, as in 127.0.0.1:8081 or [::1]:8081"));
  };
  if (absl::StartsWith(address, "unix:")) {
    if (address.size() == 5) return wrong("has no path");
    return absl::OkStatus();
  }
  if (absl::StrContains(address, "://")) return wrong("is a URL");
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return wrong("has no port");
  const std::string host = address.substr(0, colon);
  if (host.empty()) return wrong("has no host");
  for (const unsigned char c : host) {
    if (c <= ' ' || c == 0x7f || c == '/')
      return wrong("has a host with a character that hosts don't have");
  }
  const bool bracketed = host.front() == '[' && host.back() == ']' && host.size() > 2;
  if (host == "[]") return wrong("has no host");
  if (!bracketed && absl::StrContains(host, ":")) {
    return wrong("is an IPv6 address without brackets");
  }
  uint32_t port = 0;
  const std::string port_text = address.substr(colon + 1);
  const bool digits =
      !port_text.empty() && port_text.find_first_not_of("0123456789") == std::string::npos;
  if (!digits || !absl::SimpleAtoi(port_text, &port) || port < 1 || port > 65535) {
    return wrong("has no port from 1 to 65535");
  }
  return absl::OkStatus();
}

bool IsThisMachine(const std::string& whole) {
  const std::string address(absl::StripPrefix(whole, kTlsScheme));
  if (absl::StartsWith(address, "unix:")) return true;
  std::string host = address.substr(0, address.rfind(':'));
  if (absl::EqualsIgnoreCase(host, "localhost")) return true;
  in_addr v4;
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  in6_addr v6;
  return inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

absl::Status CheckTokenMayBeSent(const std::string& address, bool tls, bool insecure_token) {
  const bool encrypted = tls || absl::StartsWith(address, kTlsScheme);
  if (encrypted || insecure_token || IsThisMachine(address)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the token would go to ", absl::CHexEscape(address.substr(0, 300)),
      " unencrypted, for everyone on the way to read and use; write https:// before the server (or "
      "convctl --tls), or say --insecure-token where the network is trusted"));
}

}  // namespace convd
