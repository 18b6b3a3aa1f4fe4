#include "server/rpc/caller.h"

#include <chrono>

#include "absl/time/time.h"

namespace convd {

absl::Status CallerStillWaits(const grpc::CallbackServerContext& context) {
  // First the deadline: gRPC cancels the call too when it passes, and this is the better word.
  if (std::chrono::system_clock::now() >= context.deadline()) {
    return absl::DeadlineExceededError("the caller's deadline passed before the answer was ready");
  }
  if (context.IsCancelled()) return absl::CancelledError("the caller cancelled");
  return absl::OkStatus();
}

StillWanted StillWantedBy(const grpc::CallbackServerContext& context, absl::Duration came) {
  return StillWanted([&context] { return CallerStillWaits(context); },
                     absl::FromChrono(context.deadline()), came);
}

}  // namespace convd
