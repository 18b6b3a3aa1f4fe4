#ifndef CONVD_CLIENT_CONVCTL_EXIT_CODE_H_
#define CONVD_CLIENT_CONVCTL_EXIT_CODE_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace convd {

// What convctl ends with; scripts rely on the numbers.
enum ExitCode {
  kExitOk = 0,
  kExitRefused = 1,        // the server said no
  kExitUsage = 2,          // wrong arguments, or a local file that isn't there
  kExitUnreachable = 3,    // no server there, or it was lost
  kExitJobEnded = 4,       // the job that was followed failed or was cancelled
  kExitTimeout = 5,        // no answer within --timeout
  kExitInterrupted = 130,  // Ctrl-C
};

// Errors that arise here, not at the server. Each carries its exit code along.
absl::Status UsageError(std::string_view message);
absl::Status JobEndedError(std::string_view message);
// Ctrl-C; the message stands for itself and is no error.
absl::Status InterruptedError(std::string_view message);

// The same error with a sentence on what to do about it.
absl::Status WithHint(absl::Status status, std::string_view hint);
// The same with the hint that its code and words suggest, unless it has one.
absl::Status WithUsualHint(absl::Status status);
std::string HintOf(const absl::Status& status);  // empty where there is none

ExitCode ExitCodeFor(const absl::Status& status);

// For stderr: "error: ..." and, where there is one, "hint: ...", each a line.
std::string ErrorText(const absl::Status& status);
// {"error":{"code":"NOT_FOUND","message":"...","hint":"...","exit_code":1}} and a newline.
std::string ErrorJson(const absl::Status& status);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_EXIT_CODE_H_
