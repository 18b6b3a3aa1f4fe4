#include "client/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <grpcpp/support/client_interceptor.h>

#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "client/address.h"
#include "client/grpc_call.h"
#include "core/status/status_macros.h"
#include "grpc/health/v1/health.grpc.pb.h"

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

// Puts the token into every call of a channel, so that none can be forgotten.
class TokenSender final : public grpc::experimental::Interceptor {
 public:
  explicit TokenSender(const std::string& header) : header_(header) {}
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    using Hook = grpc::experimental::InterceptionHookPoints;
    if (methods->QueryInterceptionHookPoint(Hook::PRE_SEND_INITIAL_METADATA)) {
      methods->GetSendInitialMetadata()->emplace("authorization", header_);
    }
    methods->Proceed();
  }

 private:
  const std::string& header_;
};

class TokenSenders final : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  explicit TokenSenders(const std::string& token) : header_(absl::StrCat("Bearer ", token)) {}
  grpc::experimental::Interceptor* CreateClientInterceptor(
      grpc::experimental::ClientRpcInfo*) override {
    return new TokenSender(header_);
  }

 private:
  const std::string header_;
};

absl::Status CheckToken(const std::string& token) {
  for (const unsigned char c : token) {
    if (c > ' ' && c < 0x7f) continue;
    return absl::InvalidArgumentError(
        "the token has a character that tokens don't have; want one line as `convd token` prints "
        "it");
  }
  return absl::OkStatus();
}

// gRPC tells why only to those who call.
absl::Status WhyUnreachable(const std::shared_ptr<grpc::Channel>& channel,
                            const std::string& address, const ClientOptions& options) {
  grpc::ClientContext context;
  SetTimeout(context, absl::Seconds(2));
  grpc::health::v1::HealthCheckResponse response;
  const grpc::Status status =
      grpc::health::v1::Health::NewStub(channel)->Check(&context, {}, &response);
  const std::string said = status.error_message();
  const auto unreachable = [&address](absl::string_view why) {
    return absl::UnavailableError(absl::StrCat("can't reach convd at ", address, why));
  };
  if (absl::StrContains(said, "CERTIFICATE_VERIFY_FAILED") ||
      absl::StrContains(said, "certificate verify failed")) {
    return unreachable(
        ": nobody whom this client trusts vouches for the server's certificate; give the "
        "certificate that does (convctl: --tls-ca FILE)");
  }
  if (absl::StrContains(said, "Hostname Verification") || absl::StrContains(said, "Peer name")) {
    return unreachable(": the server's certificate is for other names; use one of those");
  }
  if (absl::StrContains(said, "WRONG_VERSION_NUMBER") ||
      absl::StrContains(said, "wrong version number")) {
    return unreachable(": it doesn't encrypt; leave out --tls and https://");
  }
  const bool closed = absl::StrContains(said, "Socket closed") ||
                      absl::StrContains(said, "reset by peer") ||
                      absl::StrContains(said, "Broken pipe") || absl::StrContains(said, "SETTINGS");
  if (closed && !options.tls) {
    return unreachable(
        ": something listens there, but ends the connection; a server that encrypts wants TLS "
        "(convctl: --tls, or --tls-ca FILE)");
  }
  if (closed || absl::StrContains(said, "certificate required")) {
    return unreachable(
        options.tls_certificate.empty()
            ? ": it ended the connection; a server with --tls-client-ca wants a certificate of the "
              "client (convctl: --tls-cert and --tls-key)"
            : ": it ended the connection; it may not accept this client's certificate");
  }
  return unreachable("");
}

std::shared_ptr<grpc::ChannelCredentials> Credentials(const ClientOptions& options) {
  if (!options.tls) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions ssl;
  ssl.pem_root_certs = options.tls_ca;
  ssl.pem_private_key = options.tls_key;
  ssl.pem_cert_chain = options.tls_certificate;
  return grpc::SslCredentials(ssl);
}

// Waits until the channel is connected, or has failed once. A server that says nothing within the
// caller's own timeout is late; one that has had all the time to connect isn't there.
absl::Status WaitConnected(const std::shared_ptr<grpc::Channel>& channel,
                           const std::string& address, const ClientOptions& options) {
  const bool limited =
      options.timeout > absl::ZeroDuration() && options.timeout < options.connect_timeout;
  const absl::Duration timeout = limited ? options.timeout : options.connect_timeout;
  const auto deadline = absl::ToChronoTime(absl::Now() + timeout);
  for (;;) {
    const grpc_connectivity_state state = channel->GetState(/*try_to_connect=*/true);
    if (state == GRPC_CHANNEL_READY) return absl::OkStatus();
    if (state == GRPC_CHANNEL_TRANSIENT_FAILURE || state == GRPC_CHANNEL_SHUTDOWN) {
      return WhyUnreachable(channel, address, options);
    }
    if (!channel->WaitForStateChange(state, deadline)) {
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
  CONVD_RETURN_IF_ERROR(CheckToken(options.token));
  ClientOptions meant = options;
  absl::string_view target = address;
  meant.tls = absl::ConsumePrefix(&target, kTlsScheme) || options.tls;
  const bool tls_texts =
      !meant.tls_ca.empty() || !meant.tls_certificate.empty() || !meant.tls_key.empty();
  if (tls_texts && !meant.tls) {
    return absl::InvalidArgumentError(
        "certificates were given for a connection without TLS; write https:// before the server, "
        "or leave them out");
  }
  if (!meant.token.empty()) {
    CONVD_RETURN_IF_ERROR(CheckTokenMayBeSent(address, meant.tls, meant.insecure_token));
  }
  std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> interceptors;
  if (!options.token.empty()) interceptors.push_back(std::make_unique<TokenSenders>(options.token));
  const std::shared_ptr<grpc::Channel> channel =
      grpc::experimental::CreateCustomChannelWithInterceptors(
          std::string(target), Credentials(meant), ChannelArguments(meant),
          std::move(interceptors));
  CONVD_RETURN_IF_ERROR(WaitConnected(channel, std::string(target), meant));
  return channel;
}

}  // namespace convd
