#ifndef CONVD_SERVER_PERIODIC_CALL_H_
#define CONVD_SERVER_PERIODIC_CALL_H_

#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace convd {

// Calls a function on a thread of its own, the first time after `interval`, and each time that long
// after the last call has ended, until it is destroyed.
class PeriodicCall {
 public:
  PeriodicCall(std::function<void()> call, absl::Duration interval);
  // Waits for a call that runs.
  ~PeriodicCall();

 private:
  absl::Mutex mu_;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;  // last: it uses the rest
};

}  // namespace convd

#endif  // CONVD_SERVER_PERIODIC_CALL_H_
