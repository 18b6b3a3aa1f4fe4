#ifndef CONVD_SERVER_AUTH_TOKENS_FILE_H_
#define CONVD_SERVER_AUTH_TOKENS_FILE_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/auth/scope.h"

namespace convd {

// How many calls a principal may make; 0 means no limit.
struct CallLimits {
  double rate = 0;     // a second
  int concurrent = 0;  // at a time
};

// One line of a tokens file.
struct TokenEntry {
  std::string name;  // of the principal
  ScopeSet scopes;
  std::string sha256;             // of the token, 32 bytes; empty for a certificate's name
  std::optional<double> rate;     // instead of the server's own limit
  std::optional<int> concurrent;  // the same
  int line = 0;                   // from 1
};

// Reads lines of
//   NAME SCOPES SHA256-HEX|cert [rate=CALLS-A-SECOND] [concurrent=CALLS]
// and comments, which begin with #. A name may come several times, so that a token can be replaced
// while the old one is still in use; its limits are then the same each time. INVALID_ARGUMENT names
// the line and what would be right; never shows what stands where a hash belongs, which may be a
// token put there by mistake.
absl::StatusOr<std::vector<TokenEntry>> ParseTokensFile(absl::string_view text);

// The line for a token that was made just now, without its end.
std::string TokensFileLine(absl::string_view name, ScopeSet scopes, absl::string_view sha256);

// 1 to 128 characters of printable ASCII without white space, # and =.
absl::Status CheckPrincipalName(absl::string_view name);

}  // namespace convd

#endif  // CONVD_SERVER_AUTH_TOKENS_FILE_H_
