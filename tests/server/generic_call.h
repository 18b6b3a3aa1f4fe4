#ifndef CONVD_TESTS_SERVER_GENERIC_CALL_H_
#define CONVD_TESTS_SERVER_GENERIC_CALL_H_

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

namespace convd {

// One call of any kind and method with one message, `request`, and its end awaited. What a caller
// that knows no protobuf would do.
struct GenericCall {
  grpc::ClientContext context;
  int messages = 0;  // of the answer

  grpc::Status Run(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                   const std::string& request = "") {
    grpc::GenericStub stub(channel);
    grpc::CompletionQueue queue;
    const auto next = [&queue] {
      void* tag = nullptr;
      bool ok = false;
      return queue.Next(&tag, &ok) && ok;
    };
    const auto call = stub.PrepareCall(&context, method, &queue);
    call->StartCall(nullptr);
    if (next()) {
      const grpc::Slice slice(request);
      call->WriteLast(grpc::ByteBuffer(&slice, 1), {}, nullptr);
      next();
    }
    grpc::ByteBuffer message;
    for (call->Read(&message, nullptr); next(); call->Read(&message, nullptr)) ++messages;
    grpc::Status status;
    call->Finish(&status, nullptr);
    next();
    return status;
  }
};

}  // namespace convd

#endif  // CONVD_TESTS_SERVER_GENERIC_CALL_H_
