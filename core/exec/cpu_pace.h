#ifndef CONVD_CORE_EXEC_CPU_PACE_H_
#define CONVD_CORE_EXEC_CPU_PACE_H_

#include <algorithm>

#include "absl/time/time.h"

namespace convd {

// Says when training is to pause, so that the process stays under its cgroup's quota: whoever uses
// it up is stopped by the kernel until the period ends, predictions too. A token bucket over the
// CPU time of the whole process: in any period, wherever it begins, that is at most the quota less
// a reserve, since the kernel hands it out to CPUs by slices, which may lie on one that has no use
// for it. Not thread-safe.
class CpuPace {
 public:
  // `quota` of CPU time in each `period`; both above zero.
  CpuPace(absl::Duration quota, absl::Duration period, absl::Duration now, absl::Duration used)
      : rate_(absl::FDivDuration(quota, period) * (1 - kReserve)),
        least_(quota * -kOwed),
        most_(quota * kBurst),
        now_(now),
        used_(used) {}

  // How long training is to pause from `now` on, when the process has had `used` of CPU time; zero
  // where it may go on. Neither goes back.
  absl::Duration Pause(absl::Duration now, absl::Duration used) {
    left_ = std::clamp(left_ + rate_ * (now - now_) - (used - used_), least_, most_);
    now_ = now;
    used_ = used;
    return left_ < absl::ZeroDuration() ? -left_ / rate_ : absl::ZeroDuration();
  }

 private:
  static constexpr double kReserve = 0.06;
  // Of the quota: however much others took, training stands still for half a period or so at most.
  static constexpr double kOwed = 0.5;
  // Of the quota, saved up while it isn't used.
  static constexpr double kBurst = 0.02;

  const double rate_;  // cores
  const absl::Duration least_, most_;
  absl::Duration now_, used_;
  absl::Duration left_;
};

}  // namespace convd

#endif  // CONVD_CORE_EXEC_CPU_PACE_H_
