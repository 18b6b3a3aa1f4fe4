#ifndef CONVD_SERVER_STATE_LOCK_H_
#define CONVD_SERVER_STATE_LOCK_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace convd {

// Keeps a second server off a state folder: an exclusive flock on STATE/lock, which the kernel lets
// go of however this process ends. The file itself stays and holds the last owner's process id.
class StateLock {
 public:
  // STATE exists. FAILED_PRECONDITION where another process has it, else what opening the file
  // gave; both name the path.
  static absl::StatusOr<std::unique_ptr<StateLock>> Acquire(const std::string& state_dir);
  ~StateLock();

  StateLock(const StateLock&) = delete;
  StateLock& operator=(const StateLock&) = delete;

 private:
  explicit StateLock(int fd) : fd_(fd) {}

  const int fd_;
};

}  // namespace convd

#endif  // CONVD_SERVER_STATE_LOCK_H_
