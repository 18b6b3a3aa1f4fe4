#ifndef CONVD_CLIENT_ADDRESS_H_
#define CONVD_CLIENT_ADDRESS_H_

#include <string>

#include "absl/status/status.h"

namespace convd {

// In front of an address: the server encrypts.
inline constexpr char kTlsScheme[] = "https://";

// OK for HOST:PORT, [IPV6]:PORT, either with kTlsScheme before it, and unix:PATH, else
// INVALID_ARGUMENT with what would be right.
absl::Status CheckServerAddress(const std::string& address);

// True where what is sent there stays on this machine: unix:PATH, localhost, 127.0.0.0/8 and [::1].
// REQUIRES: CheckServerAddress says OK.
bool IsThisMachine(const std::string& address);

// OK where a token may be sent there, by `tls` or kTlsScheme encrypted; else INVALID_ARGUMENT:
// beyond this machine everyone on the way reads what isn't encrypted.
absl::Status CheckTokenMayBeSent(const std::string& address, bool tls, bool insecure_token);

}  // namespace convd

#endif  // CONVD_CLIENT_ADDRESS_H_
