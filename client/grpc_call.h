#ifndef CONVD_CLIENT_GRPC_CALL_H_
#define CONVD_CLIENT_GRPC_CALL_H_

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace convd {

// What a call ended with, as the rest of the client speaks of it: same code, same message.
absl::Status FromGrpcStatus(const grpc::Status& status);

// Gives the call `timeout` from now; none where it is infinite.
void SetTimeout(grpc::ClientContext& context, absl::Duration timeout);

}  // namespace convd

#endif  // CONVD_CLIENT_GRPC_CALL_H_
