#ifndef CONVD_SERVER_RPC_ARENA_MESSAGES_H_
#define CONVD_SERVER_RPC_ARENA_MESSAGES_H_

#include <google/protobuf/arena.h>
#include <grpcpp/support/message_allocator.h>

namespace convd {

// Puts each call's request and response on an arena that goes with the call; for the generated
// SetMessageAllocatorFor_... of a unary callback method. Any thread may call; outlives the server.
template <typename Request, typename Response>
class ArenaMessages final : public grpc::MessageAllocator<Request, Response> {
 public:
  grpc::MessageHolder<Request, Response>* AllocateMessages() override { return new Holder; }

 private:
  class Holder final : public grpc::MessageHolder<Request, Response> {
   public:
    Holder() {
      this->set_request(google::protobuf::Arena::CreateMessage<Request>(&arena_));
      this->set_response(google::protobuf::Arena::CreateMessage<Response>(&arena_));
    }
    void Release() override { delete this; }

   private:
    google::protobuf::Arena arena_;
  };
};

}  // namespace convd

#endif  // CONVD_SERVER_RPC_ARENA_MESSAGES_H_
