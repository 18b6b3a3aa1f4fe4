#ifndef CONVD_SERVER_RPC_ACTIVE_CALLS_H_
#define CONVD_SERVER_RPC_ACTIVE_CALLS_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace convd {

// How many calls a server, or a part of it, has accepted and not yet answered to the end. gRPC's
// own services (health, reflection) don't count: their streams stay open as long as clients like.
// Any thread may call.
class ActiveCalls {
 public:
  void Begin();
  void End();

  // Waits until none is active; false where some still are at `deadline`.
  bool AwaitNone(absl::Time deadline);

 private:
  absl::Mutex mu_;
  int64_t active_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace convd

#endif  // CONVD_SERVER_RPC_ACTIVE_CALLS_H_
