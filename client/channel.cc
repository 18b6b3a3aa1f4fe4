#include "client/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/address.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

grpc::ChannelArguments ChannelArguments(const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(options.max_message_bytes);
  arguments.SetMaxSendMessageSize(options.max_message_bytes);
  // A server that allows fewer ends the connection with too_many_pings; gRPC then pings half as
  // often, and a watch goes on.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS,
                   static_cast<int>(absl::ToInt64Milliseconds(options.keepalive_interval)));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                   static_cast<int>(absl::ToInt64Milliseconds(options.keepalive_timeout)));
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // as many as a quiet watch needs
  // A web proxy of the environment is not meant for a server that listens on loopback by default.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  // To gRPC the time that an attempt to connect may take, not a pause.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS,
                   static_cast<int>(absl::ToInt64Milliseconds(options.connect_timeout)));
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5000);
  // Two clients of one process are two connections, so that one's settings are not the other's.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return arguments;
}

// Waits until the channel is connected, or has failed once. A server that says nothing within the
// caller's own timeout is late; one that has had all the time to connect isn't there.
absl::Status WaitConnected(grpc::Channel& channel, const std::string& address,
                           const ClientOptions& options) {
  const bool limited =
      options.timeout > absl::ZeroDuration() && options.timeout < options.connect_timeout;
  const absl::Duration timeout = limited ? options.timeout : options.connect_timeout;
  const auto deadline = absl::ToChronoTime(absl::Now() + timeout);
  for (;;) {
    const grpc_connectivity_state state = channel.GetState(/*try_to_connect=*/true);
    if (state == GRPC_CHANNEL_READY) return absl::OkStatus();
    if (state == GRPC_CHANNEL_TRANSIENT_FAILURE || state == GRPC_CHANNEL_SHUTDOWN) {
      return absl::UnavailableError(absl::StrCat("can't reach convd at ", address));
    }
    if (!channel.WaitForStateChange(state, deadline)) {
      return absl::Status(
          limited ? absl::StatusCode::kDeadlineExceeded : absl::StatusCode::kUnavailable,
          absl::StrCat("can't reach convd at ", address, ": no answer within ",
                       absl::FormatDuration(timeout)));
    }
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::Channel>> ConnectChannel(const std::string& address,
                                                              const ClientOptions& options) {
  CONVD_RETURN_IF_ERROR(CheckServerAddress(address));
  const std::shared_ptr<grpc::Channel> channel = grpc::CreateCustomChannel(
      address, grpc::InsecureChannelCredentials(), ChannelArguments(options));
  CONVD_RETURN_IF_ERROR(WaitConnected(*channel, address, options));
  return channel;
}

}  // namespace convd
