#ifndef CONVD_TESTS_CORE_TIME_HAND_CLOCK_H_
#define CONVD_TESTS_CORE_TIME_HAND_CLOCK_H_

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/time/clock.h"

namespace convd {

// A clock that stands still until a test moves it.
class HandClock final : public Clock {
 public:
  absl::Time Now() const override {
    absl::MutexLock lock(&mu_);
    return absl::FromUnixSeconds(1'769'903'999) + elapsed_;  // 2026-01-31T23:59:59Z
  }
  absl::Duration Monotonic() const override {
    absl::MutexLock lock(&mu_);
    return elapsed_;
  }
  void Advance(absl::Duration duration) {
    absl::MutexLock lock(&mu_);
    elapsed_ += duration;
  }

 private:
  mutable absl::Mutex mu_;
  absl::Duration elapsed_ ABSL_GUARDED_BY(mu_);
};

}  // namespace convd

#endif  // CONVD_TESTS_CORE_TIME_HAND_CLOCK_H_
