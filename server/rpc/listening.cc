#include "server/rpc/listening.h"

#include <grpc/grpc.h>
#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server_builder.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "core/status/status_macros.h"
#include "server/listening_socket.h"
#include "server/rpc/tls_credentials.h"

namespace convd {
namespace {

constexpr int kMaxStreams = 1000;  // of one connection
// The health and reflection services' threads; ours answer on gRPC's callback threads.
constexpr int kSyncThreads = 4;

// gRPC speaks of much that its users can't help; what it calls errors is often a peer's doing.
// Whoever can connect may fail at TLS as often as they like, and the log must not grow by it; what
// is wrong with this server's own files is found before gRPC sees them.
void LogForGrpc(gpr_log_func_args* message) {
  const bool handshake = absl::StrContains(message->file, "ssl_transport_security") ||
                         absl::StrContains(message->file, "security_handshaker");
  const bool error = message->severity == GPR_LOG_SEVERITY_ERROR && !handshake;
  spdlog::log(error ? spdlog::level::warn : spdlog::level::debug, "gRPC: {}", message->message);
}

}  // namespace

absl::StatusOr<ListeningServer> Listen(const Config& config,
                                       const std::vector<grpc::Service*>& services,
                                       ListenOptions options) {
  constexpr char kFlag[] = "--grpc-address";
  CONVD_ASSIGN_OR_RETURN(ListenAddress address, ParseListenAddress(kFlag, config.grpc_address));
  // Let go again at once, since gRPC keeps to itself why it can't have it. Whoever takes the port
  // in between is found by gRPC.
  CONVD_RETURN_IF_ERROR(ListeningSocket::Open(kFlag, config.grpc_address).status());
  gpr_set_log_function(LogForGrpc);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();

  grpc::ServerBuilder builder;
  int port = 0;
  ListeningServer listening;
  listening.credentials =
      options.tls != nullptr ? NewTlsCredentials(*options.tls) : grpc::InsecureServerCredentials();
  builder.AddListeningPort(config.grpc_address, listening.credentials, &port);
  for (grpc::Service* service : services) builder.RegisterService(service);
  const int64_t max_message = int64_t{config.max_message_mb} << 20;
  builder.SetMaxReceiveMessageSize(static_cast<int>(max_message));
  builder.SetMaxSendMessageSize(static_cast<int>(max_message));
  grpc::ResourceQuota quota("convd");
  // Of messages on their way in.
  quota.Resize(static_cast<size_t>(MostWaitingBytes(config)));
  quota.SetMaxThreads(4 * kSyncThreads);
  builder.SetResourceQuota(quota);
  builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, kSyncThreads);
  // A port in use is an error, not a share.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreams);
  const auto milliseconds = [](absl::Duration duration) {
    return static_cast<int>(absl::ToInt64Milliseconds(duration));
  };
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             milliseconds(options.keepalive.min_client_interval));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, milliseconds(options.keepalive.interval));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                             milliseconds(options.keepalive.timeout));
  // Both ways also while there is no call: without this a client could ping once in 2 hours then,
  // and one that is gone would never be noticed.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);

  listening.calls = std::make_shared<ActiveCalls>();
  options.hooks.active = listening.calls;
  AddCallHooks(builder, std::move(options.hooks));
  listening.server = builder.BuildAndStart();
  if (listening.server == nullptr || port == 0) {
    return PortInUse(kFlag, config.grpc_address, "gRPC could not bind it");
  }
  address.port = port;
  listening.address = ToString(address);
  return listening;
}

void ShutDown(ListeningServer& listening, absl::Time deadline, absl::Duration farewell) {
  grpc::Server& server = *listening.server;
  absl::Notification over;
  std::thread shutdown([&] {
    server.Shutdown(absl::ToChronoTime(deadline));
    over.Notify();
  });
  // gRPC tells each client to go, pings it, and keeps the connection until the answer has come, for
  // 20 s. A client that waits for nothing may not look at its connection for longer than that (a
  // synchronous C++ one looks while a call runs), so its connection is closed for it.
  const auto over_within_farewell = [&] {
    return over.WaitForNotificationWithTimeout(
        std::clamp(deadline - absl::Now(), absl::ZeroDuration(), farewell));
  };
  // By its end no call is accepted any more, and what was is counted.
  bool ended = over_within_farewell();
  // The last answers have been written, but may not have arrived.
  ended = ended || (listening.calls->AwaitNone(deadline) && over_within_farewell());
  // What gRPC does at the deadline, already now.
  if (!ended) grpc_server_cancel_all_calls(server.c_server());
  shutdown.join();
}

}  // namespace convd
