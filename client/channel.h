#ifndef CONVD_CLIENT_CHANNEL_H_
#define CONVD_CLIENT_CHANNEL_H_

#include <grpcpp/channel.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/client.h"

namespace convd {

// A connection of its own to a server, made: errors as Client::Connect has them.
absl::StatusOr<std::shared_ptr<grpc::Channel>> ConnectChannel(const std::string& address,
                                                              const ClientOptions& options);

}  // namespace convd

#endif  // CONVD_CLIENT_CHANNEL_H_
