#ifndef CONVD_CORE_EXEC_PACE_H_
#define CONVD_CORE_EXEC_PACE_H_

#include <algorithm>

#include "absl/time/time.h"

namespace convd {

// What the kernel lets the process's cgroup have: `cores` times `period` of CPU time in each
// period; whoever wants more is stopped until the next one. 0 cores: as much as there is.
struct CpuQuota {
  double cores = 0;
  absl::Duration period = absl::Milliseconds(100);
};

// Says when training is to wait so that the process stays below a quota. The kernel doesn't tell
// where its periods begin, so this holds for any stretch as long as one: CPU time comes in steadily
// at a little less than the quota, and as little of it is saved up for later. One thread at a time.
class Pace {
 public:
  explicit Pace(const CpuQuota& quota)
      : rate_((1 - kReserve) * quota.cores),
        saved_most_(kSaved * quota.cores * quota.period),
        owed_most_(kOwed * quota.cores * quota.period) {}

  // For how long to wait from `now` on, where the process has used `used` of CPU time; each since
  // some moment of its own. Zero where it may go on.
  absl::Duration Wait(absl::Duration now, absl::Duration used) {
    if (begun_) left_ += rate_ * (now - now_) - (used - used_);
    begun_ = true;
    now_ = now;
    used_ = used;
    left_ = std::clamp(left_, -owed_most_, saved_most_);
    return left_ < absl::ZeroDuration() ? left_ / -rate_ : absl::ZeroDuration();
  }

 private:
  // For what isn't training's: predictions and I/O between two looks.
  static constexpr double kReserve = 0.06, kSaved = 0.02;
  // However much others took, training doesn't stand still for longer than half a period.
  static constexpr double kOwed = 0.5;

  const double rate_;  // of CPU time a time
  const absl::Duration saved_most_, owed_most_;
  bool begun_ = false;
  absl::Duration now_, used_, left_;
};

}  // namespace convd

#endif  // CONVD_CORE_EXEC_PACE_H_
