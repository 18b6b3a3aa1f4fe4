#ifndef CONVD_CLIENT_LOAD_GRPC_TARGET_H_
#define CONVD_CLIENT_LOAD_GRPC_TARGET_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/load/load_target.h"

namespace convd {

// Unary calls of one method over gRPC.
struct GrpcLoad {
  std::string address;                // as Client::Connect takes it
  std::string method;                 // "/convd.v1.Predictor/Predict"
  std::vector<std::string> requests;  // serialized; call i sends the i-th, from the front again
  int connections = 1;                // that the slots share evenly
  int slots = 1;
  absl::Duration timeout = absl::InfiniteDuration();  // of a call
};

// Connects; errors as Client::Connect has them. REQUIRES: there is a request, and both numbers are
// at least 1.
absl::StatusOr<std::unique_ptr<LoadTarget>> ConnectGrpcTarget(const GrpcLoad& load);

}  // namespace convd

#endif  // CONVD_CLIENT_LOAD_GRPC_TARGET_H_
