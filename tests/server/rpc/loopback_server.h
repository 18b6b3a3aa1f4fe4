#ifndef CONVD_TESTS_SERVER_RPC_LOOPBACK_SERVER_H_
#define CONVD_TESTS_SERVER_RPC_LOOPBACK_SERVER_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "server/rpc/call_context.h"

namespace convd {

// One service on a free port of 127.0.0.1, and a channel to it. Shut down by the destructor, which
// waits for the calls that run; the service outlives it.
class LoopbackServer {
 public:
  explicit LoopbackServer(grpc::Service& service) {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service);
    AddCallHooks(builder, {});
    server_ = builder.BuildAndStart();
    channel_ = grpc::CreateChannel("127.0.0.1:" + std::to_string(port),
                                   grpc::InsecureChannelCredentials());
  }
  ~LoopbackServer() { server_->Shutdown(); }

  std::shared_ptr<grpc::Channel> channel() const { return channel_; }
  // Refuses new calls and returns when those that run are answered.
  void Shutdown() { server_->Shutdown(); }

 private:
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace convd

#endif  // CONVD_TESTS_SERVER_RPC_LOOPBACK_SERVER_H_
