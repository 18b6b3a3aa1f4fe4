#include "server/rpc/active_calls.h"

#include <string_view>
#include <utility>

namespace convd {

// gRPC makes one when a call comes in and destroys it with the call's context, once the status has
// been written.
class ActiveCalls::Counted final : public grpc::experimental::Interceptor {
 public:
  explicit Counted(std::shared_ptr<ActiveCalls> calls) : calls_(std::move(calls)) {
    absl::MutexLock lock(&calls_->mu_);
    ++calls_->active_;
  }
  ~Counted() override {
    absl::MutexLock lock(&calls_->mu_);
    --calls_->active_;
  }

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    methods->Proceed();
  }

 private:
  const std::shared_ptr<ActiveCalls> calls_;
};

class ActiveCalls::Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit Factory(std::shared_ptr<ActiveCalls> calls) : calls_(std::move(calls)) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    if (std::string_view(info->method()).substr(0, 6) == "/grpc.") return nullptr;
    return new Counted(calls_);
  }

 private:
  const std::shared_ptr<ActiveCalls> calls_;
};

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> ActiveCalls::NewInterceptor(
    std::shared_ptr<ActiveCalls> calls) {
  return std::make_unique<Factory>(std::move(calls));
}

bool ActiveCalls::AwaitNone(absl::Time deadline) {
  const auto none = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return active_ == 0; };
  absl::MutexLock lock(&mu_);
  return mu_.AwaitWithDeadline(absl::Condition(&none), deadline);
}

}  // namespace convd
