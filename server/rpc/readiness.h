#ifndef CONVD_SERVER_RPC_READINESS_H_
#define CONVD_SERVER_RPC_READINESS_H_

#include <grpcpp/health_check_service_interface.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/periodic_call.h"
#include "server/serving_state.h"

namespace convd {

// Says through grpc.health.v1, and to who asks without gRPC, which services take what they are
// there for: they are NOT_SERVING while a check fails, such as the one of room on the disk. The
// health service and the state outlive it.
class Readiness {
 public:
  // Checks now, and then each `interval` on a thread of its own until it is destroyed.
  Readiness(grpc::HealthCheckServiceInterface& health, ServingState& state,
            std::vector<std::string> services, std::function<absl::Status()> check,
            absl::Duration interval);

  // Checks once, and logs a change. Any thread may call.
  void Check();

 private:
  grpc::HealthCheckServiceInterface& health_;
  ServingState& state_;
  const std::vector<std::string> services_;
  const std::function<absl::Status()> check_;

  absl::Mutex mu_;  // held while the check runs
  bool ready_ ABSL_GUARDED_BY(mu_) = true;
  PeriodicCall checks_;  // last: it uses the rest
};

}  // namespace convd

#endif  // CONVD_SERVER_RPC_READINESS_H_
