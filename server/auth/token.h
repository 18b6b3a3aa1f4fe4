#ifndef CONVD_SERVER_AUTH_TOKEN_H_
#define CONVD_SERVER_AUTH_TOKEN_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace convd {

// A new secret: 32 bytes of the kernel's randomness as 43 characters of base64url. INTERNAL where
// the kernel gives none.
absl::StatusOr<std::string> NewToken();

// The 32 bytes by which a server knows a token; all of its characters count. Empty, which no entry
// has, where the library fails.
std::string HashToken(absl::string_view token);

// True where both are equal; takes as long where they aren't.
bool SameHash(absl::string_view a, absl::string_view b);

}  // namespace convd

#endif  // CONVD_SERVER_AUTH_TOKEN_H_
