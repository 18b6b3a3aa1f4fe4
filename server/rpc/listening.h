#ifndef CONVD_SERVER_RPC_LISTENING_H_
#define CONVD_SERVER_RPC_LISTENING_H_

#include <grpcpp/server.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/config.h"

namespace convd {

// A gRPC server that listens. Services outlive it.
struct ListeningServer {
  std::unique_ptr<grpc::Server> server;
  std::string address;  // as bound
};

// Serves `services`, grpc.health.v1 (SERVING) and reflection on config.grpc_address, with bounds on
// messages, memory, threads and streams. The status of a port that can't be had names the address
// and the reason.
absl::StatusOr<ListeningServer> Listen(const Config& config,
                                       const std::vector<grpc::Service*>& services);

}  // namespace convd

#endif  // CONVD_SERVER_RPC_LISTENING_H_
