#ifndef CONVD_SERVER_RPC_CALLER_H_
#define CONVD_SERVER_RPC_CALLER_H_

#include <grpcpp/server_context.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/predict/still_wanted.h"

namespace convd {

// OK while the caller of an RPC still waits: DEADLINE_EXCEEDED once its deadline has passed,
// CANCELLED once it has gone away. Any thread may call, until the RPC's reactor is finished.
absl::Status CallerStillWaits(const grpc::CallbackServerContext& context);

// The same as a question, with the deadline; and when the call came, where it is one request.
// `context` outlives it.
StillWanted StillWantedBy(const grpc::CallbackServerContext& context,
                          absl::Duration came = absl::InfiniteDuration());

}  // namespace convd

#endif  // CONVD_SERVER_RPC_CALLER_H_
