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

}  // namespace convd

#endif  // CONVD_CLIENT_ADDRESS_H_
