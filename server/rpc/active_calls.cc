#include "server/rpc/active_calls.h"

namespace convd {

void ActiveCalls::Begin() {
  absl::MutexLock lock(&mu_);
  ++active_;
}

void ActiveCalls::End() {
  absl::MutexLock lock(&mu_);
  --active_;
}

bool ActiveCalls::AwaitNone(absl::Time deadline) {
  const auto none = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return active_ == 0; };
  absl::MutexLock lock(&mu_);
  return mu_.AwaitWithDeadline(absl::Condition(&none), deadline);
}

}  // namespace convd
