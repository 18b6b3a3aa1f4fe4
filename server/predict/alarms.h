#ifndef CONVD_SERVER_PREDICT_ALARMS_H_
#define CONVD_SERVER_PREDICT_ALARMS_H_

#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "core/time/clock.h"

namespace convd {

// Calls functions at a given time, so that tests do it by hand. Any thread may call.
class Alarms {
 public:
  virtual ~Alarms() = default;

  // Calls `call` soon after `clock.Monotonic()` has come to `when`; never before returning.
  virtual void Set(absl::Duration when, absl::AnyInvocable<void()> call) = 0;
};

// One thread that calls them in the order of their times. The destructor drops those that aren't
// due. `clock` outlives it.
std::unique_ptr<Alarms> NewThreadedAlarms(const Clock& clock);

}  // namespace convd

#endif  // CONVD_SERVER_PREDICT_ALARMS_H_
