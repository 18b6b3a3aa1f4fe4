#ifndef CONVD_CLIENT_ADDRESS_H_
#define CONVD_CLIENT_ADDRESS_H_

#include <string>

#include "absl/status/status.h"

namespace convd {

// OK for HOST:PORT, [IPV6]:PORT and unix:PATH, else INVALID_ARGUMENT with what would be right.
absl::Status CheckServerAddress(const std::string& address);

}  // namespace convd

#endif  // CONVD_CLIENT_ADDRESS_H_
