#ifndef CONVD_SERVER_RPC_LISTENING_H_
#define CONVD_SERVER_RPC_LISTENING_H_

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/auth/tls_files.h"
#include "server/config.h"
#include "server/rpc/active_calls.h"
#include "server/rpc/call_context.h"

namespace convd {

// Pings on connections, so that whoever is gone without a word is noticed: the server pings
// clients, and lets them ping. client/client.h's defaults fit.
struct KeepalivePolicy {
  // Clients that ping more often than this while they are sent nothing are let go
  // (too_many_pings). gRPC's own default, 5 minutes, is longer than many routers remember a silent
  // connection, so that a long watch could not be kept alive across them. Our client pings each
  // minute; a ping costs 17 bytes, so others may be six times as eager.
  absl::Duration min_client_interval = absl::Seconds(10);
  // A client that was silent for `interval` is pinged, and let go where it is silent for `timeout`
  // more: a watcher whose machine is gone holds its place for 80 s at most. gRPC's default is 2
  // hours.
  absl::Duration interval = absl::Seconds(60);
  absl::Duration timeout = absl::Seconds(20);
};

struct ListenOptions {
  KeepalivePolicy keepalive = {};
  const TlsFiles* tls = nullptr;  // null: without encryption
  CallHooks hooks = {};           // `active` is Listen's own
};

// A gRPC server that listens. Services outlive it.
struct ListeningServer {
  std::shared_ptr<grpc::ServerCredentials> credentials;  // the server asks them, unowned
  std::unique_ptr<grpc::Server> server;
  std::string address;  // as bound
  std::shared_ptr<ActiveCalls> calls;
};

// Serves `services`, grpc.health.v1 (SERVING) and reflection on config.grpc_address, with bounds on
// messages, memory, threads and streams. What `options` points to outlives the server. The status
// of a port that can't be had names the address and the reason.
absl::StatusOr<ListeningServer> Listen(const Config& config,
                                       const std::vector<grpc::Service*>& services,
                                       ListenOptions options = {});

// Refuses new calls, and returns when those that were accepted have been answered, or at `deadline`
// with the others cancelled. A connection on which nothing is asked holds it up for `farewell` at
// most, twice: until then gRPC asks its client to go, and lets the last answers arrive. Once.
void ShutDown(ListeningServer& listening, absl::Time deadline,
              absl::Duration farewell = absl::Milliseconds(250));

}  // namespace convd

#endif  // CONVD_SERVER_RPC_LISTENING_H_
