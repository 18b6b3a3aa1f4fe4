#include "server/auth/token.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <sys/random.h>

#include <cerrno>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace convd {

absl::StatusOr<std::string> NewToken() {
  std::string bytes(32, '\0');
  // So few bytes come whole, and no signal ends the call.
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return absl::InternalError(
        absl::StrCat("the kernel gives no randomness for a token: ", std::strerror(errno)));
  }
  return absl::WebSafeBase64Escape(bytes);
}

std::string HashToken(absl::string_view token) {
  std::string hash(SHA256_DIGEST_LENGTH, '\0');
  if (SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(),
             reinterpret_cast<unsigned char*>(hash.data())) == nullptr) {
    hash.clear();
  }
  return hash;
}

bool SameHash(absl::string_view a, absl::string_view b) {
  return !a.empty() && a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace convd
