#include "server/periodic_call.h"

#include <utility>

namespace convd {

PeriodicCall::PeriodicCall(std::function<void()> call, absl::Duration interval)
    : thread_([this, call = std::move(call), interval] {
        for (;;) {
          {
            absl::MutexLock lock(&mu_);
            if (mu_.AwaitWithTimeout(absl::Condition(&ended_), interval)) return;
          }
          call();
        }
      }) {}

PeriodicCall::~PeriodicCall() {
  {
    absl::MutexLock lock(&mu_);
    ended_ = true;
  }
  thread_.join();
}

}  // namespace convd
