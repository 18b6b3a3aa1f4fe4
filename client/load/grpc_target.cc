#include "client/load/grpc_target.h"

#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "client/channel.h"
#include "client/grpc_call.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

// One thread on one completion queue, requests serialized once and answers not parsed: of what gRPC
// 1.51 has, this takes the least CPU time of the cores that client and server share. Measured
// against bench/echo on two cores, µs of the client a call at 1, 16 and 64 in flight: 46, 18 and
// 18; with two threads and queues 63, 19 and 17; the stub of the service instead of serialized
// requests 50, 19 and 16, or 55, 20 and 20 with answers on an arena; the callback API 71, 20 and 20
// (it keeps two threads of its own at the sockets); a thread a call 53, 35 and 32.
class GrpcTarget final : public LoadTarget {
 public:
  GrpcTarget(const GrpcLoad& load, const std::vector<std::shared_ptr<grpc::Channel>>& channels)
      : method_(load.method),
        timeout_(load.options.timeout > absl::ZeroDuration() ? load.options.timeout
                                                             : absl::InfiniteDuration()),
        slots_(load.slots) {
    for (const std::string& request : load.requests) {
      const grpc::Slice slice(request);
      requests_.emplace_back(&slice, 1);
    }
    for (const auto& channel : channels) stubs_.emplace_back(channel);
    thread_ = std::thread([this] { Run(); });
  }

  ~GrpcTarget() override {
    CancelAll();
    queue_.Shutdown();
    thread_.join();
  }

  int slots() const override { return static_cast<int>(slots_.size()); }

  void Start(int index, int64_t call, LoadObserver& observer) override {
    Slot& slot = slots_[index];
    slot.call = nullptr;  // lies in the memory of the context's call
    slot.index = index;
    slot.observer = &observer;
    grpc::ClientContext* context = nullptr;
    {
      absl::MutexLock lock(&slot.mu);
      context = &slot.context.emplace();
    }
    SetTimeout(*context, timeout_);
    slot.call = stubs_[index % stubs_.size()].PrepareUnaryCall(
        context, method_, requests_[call % requests_.size()], &queue_);
    slot.call->StartCall();
    slot.call->Finish(&slot.answer, &slot.status, &slot);
  }

  void CancelAll() override {
    for (Slot& slot : slots_) {
      absl::MutexLock lock(&slot.mu);
      if (slot.context) slot.context->TryCancel();
    }
  }

 private:
  struct Slot {
    int index = 0;
    LoadObserver* observer = nullptr;
    absl::Mutex mu;
    std::optional<grpc::ClientContext> context ABSL_GUARDED_BY(mu);
    std::unique_ptr<grpc::ClientAsyncResponseReader<grpc::ByteBuffer>> call;
    grpc::ByteBuffer answer;
    grpc::Status status;
  };

  void Run() {
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
      Slot& slot = *static_cast<Slot*>(tag);
      slot.answer.Clear();
      slot.observer->OnEnd(slot.index, FromGrpcStatus(slot.status));
    }
  }

  const std::string method_;
  const absl::Duration timeout_;
  std::vector<grpc::ByteBuffer> requests_;
  std::vector<grpc::GenericStub> stubs_;  // one a connection
  std::vector<Slot> slots_;
  grpc::CompletionQueue queue_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace

absl::StatusOr<std::unique_ptr<LoadTarget>> ConnectGrpcTarget(const GrpcLoad& load) {
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  for (int i = 0; i < load.connections; ++i) {
    CONVD_ASSIGN_OR_RETURN(channels.emplace_back(), ConnectChannel(load.address, load.options));
  }
  return std::make_unique<GrpcTarget>(load, channels);
}

}  // namespace convd
