#ifndef CONVD_SERVER_RPC_STATUS_H_
#define CONVD_SERVER_RPC_STATUS_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace convd {

// The one place where the core's errors become gRPC's: same code, same message (cut at 4 KiB, made
// valid UTF-8). Any thread may call.
grpc::Status ToGrpcStatus(const absl::Status& status);

}  // namespace convd

#endif  // CONVD_SERVER_RPC_STATUS_H_
