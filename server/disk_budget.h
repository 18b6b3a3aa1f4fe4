#ifndef CONVD_SERVER_DISK_BUDGET_H_
#define CONVD_SERVER_DISK_BUDGET_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/storage/file_system.h"
#include "core/time/clock.h"

namespace convd {

// What the state folder may still grow by: the rest of --max-state-bytes, or of what the disk has
// free, whichever is less. Asked before something new is accepted, so that what was accepted before
// finds room for its checkpoints and versions. Reads the disk, so it may block. Any thread may
// call; file system and clock outlive it.
class DiskBudget {
 public:
  // Of the disk's free bytes these are kept for what was accepted before.
  static constexpr int64_t kReserve = int64_t{32} << 20;

  // `max_bytes`: of all that the folder takes on the disk; 0 leaves it to the disk.
  DiskBudget(FileSystem& fs, const Clock& clock, std::string folder, int64_t max_bytes)
      : fs_(fs), clock_(clock), folder_(std::move(folder)), max_bytes_(max_bytes) {}

  // RESOURCE_EXHAUSTED with the figures where `bytes` more don't fit, or where there is no room
  // already. What it says OK to counts as written until the folder is looked at again, a second
  // later or when room is short. No promise of room: what is being written at that moment counts as
  // far as it has come.
  absl::Status Take(int64_t bytes);

  struct Room {
    int64_t taken = 0;  // by the folder; only known where there is a limit
    int64_t free = 0;   // on the disk
  };
  // As it was a second ago at most.
  absl::StatusOr<Room> room();
  int64_t max_bytes() const { return max_bytes_; }

 private:
  absl::Status Look() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status Check(int64_t bytes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  FileSystem& fs_;
  const Clock& clock_;
  const std::string folder_;
  const int64_t max_bytes_;

  // Held while the folder is looked at: the others would do the same.
  absl::Mutex mu_;
  Room room_ ABSL_GUARDED_BY(mu_);
  int64_t taken_since_ ABSL_GUARDED_BY(mu_) = 0;  // the last look
  absl::Duration looked_ ABSL_GUARDED_BY(mu_) = -absl::InfiniteDuration();
};

}  // namespace convd

#endif  // CONVD_SERVER_DISK_BUDGET_H_
