#ifndef CONVD_CORE_TIME_CLOCK_H_
#define CONVD_CORE_TIME_CLOCK_H_

#include "absl/time/time.h"

namespace convd {

// The seam between this project and time, so that tests turn it by hand. Any thread may call.
class Clock {
 public:
  virtual ~Clock() = default;

  // Wall time, for records that people read. May jump.
  virtual absl::Time Now() const = 0;
  // Time since an arbitrary start that never goes back, for durations.
  virtual absl::Duration Monotonic() const = 0;

  // The machine's clock; lives for ever.
  static const Clock& Real();
};

}  // namespace convd

#endif  // CONVD_CORE_TIME_CLOCK_H_
