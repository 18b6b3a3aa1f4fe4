#include "server/rpc/call_context.h"

#include <grpc/grpc.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/support/server_interceptor.h>

#include <array>
#include <atomic>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/time/clock.h"
#include "server/auth/method_scopes.h"
#include "server/auth/request_id.h"
#include "server/rpc/status.h"

namespace convd {
namespace {

using Interceptor = grpc::experimental::Interceptor;
using BatchMethods = grpc::experimental::InterceptorBatchMethods;
using Hook = grpc::experimental::InterceptionHookPoints;
using Metadata = std::multimap<grpc::string_ref, grpc::string_ref>;

constexpr char kNotAsked[] = "the server answered without asking whether the call is allowed";

constexpr char kUnread[] =
    "the answers weren't read, and others needed their room; read them as they come, or ask for "
    "less "
    "at once";

// Less isn't counted: a call takes more by itself.
constexpr size_t kLeastUnread = size_t{16} << 10;

constexpr size_t kMostTarget = 400;
constexpr size_t kMostModel = 64;  // of a name that may be one

absl::string_view Header(const Metadata& metadata, const char* name) {
  const auto found = metadata.find(name);
  return found == metadata.end() ? absl::string_view()
                                 : absl::string_view(found->second.data(), found->second.size());
}

std::vector<std::string> CertificateNames(const grpc::ServerContextBase& context) {
  std::vector<std::string> names;
  const std::shared_ptr<const grpc::AuthContext> auth = context.auth_context();
  if (auth == nullptr || !auth->IsPeerAuthenticated()) return names;
  for (const char* property : {GRPC_X509_CN_PROPERTY_NAME, GRPC_X509_SAN_PROPERTY_NAME}) {
    for (const grpc::string_ref& name : auth->FindPropertyValues(property)) {
      if (!name.empty()) names.emplace_back(name.data(), name.size());
    }
  }
  return names;
}

Admitted AskAdmission(const CallHooks& hooks, Scope scope, const Metadata& metadata,
                      const grpc::ServerContextBase& context) {
  std::vector<std::string> names;
  if (hooks.client_certificates) names = CertificateNames(context);
  return hooks.admission->Admit(scope, Header(metadata, "authorization"), Peer{names});
}

// Ends a call from outside of its handler, who finds its caller gone.
void Cancel(grpc_call* call, const grpc::Status& status) {
  grpc_call_cancel_with_status(call, static_cast<grpc_status_code>(status.error_code()),
                               status.error_message().c_str(), nullptr);
}

// One call of a callback service: who makes it, whether that is allowed, and what became of it.
// gRPC calls from one thread at a time until the call is answered.
class CallContext final : public grpc::CallbackServerContext, private UnreadAnswers::Call {
 public:
  explicit CallContext(const CallHooks& hooks) : hooks_(hooks) {}
  // The call is over, whichever end ended it.
  ~CallContext() override {
    if (has_unread_.load(std::memory_order_relaxed)) hooks_.unread->Forget(*this);
    if (method_ == nullptr) return;
    if (hooks_.active != nullptr) hooks_.active->End();
    if (!hooks_.on_finished) return;
    const auto address = [this] { return peer_.empty() ? peer() : peer_; };
    const FinishedCall call{
        .method = std::string_view(method_->method.data(), method_->method.size()),
        .audited = method_->audited,
        .status = answer_,
        .duration = Clock::Real().Monotonic() - start_,
        .principal = admitted_.principal(),
        .request_id = std::string_view(request_id_.text().data(), request_id_.text().size()),
        .trace_id = std::string_view(trace_id_.data(), has_trace_id_ ? trace_id_.size() : 0),
        .target = target_,
        .model = model_,
        .peer = address,
    };
    hooks_.on_finished(call);
  }

  void Begin(const MethodScope& method) {
    method_ = &method;
    start_ = Clock::Real().Monotonic();
    if (hooks_.active != nullptr) hooks_.active->Begin();
  }

  absl::Duration start() const { return start_; }

  void Arrived(const Metadata& metadata) {
    request_id_ = RequestId(Header(metadata, "x-request-id"));
    if (const absl::string_view trace = TraceId(Header(metadata, "traceparent")); !trace.empty()) {
      has_trace_id_ = true;
      std::memcpy(trace_id_.data(), trace.data(), trace_id_.size());
    }
    // Once the connection is gone gRPC doesn't know it any more.
    if (method_->audited) peer_ = peer();
    if (hooks_.admission != nullptr) {
      admitted_ = AskAdmission(hooks_, method_->scope, metadata, *this);
      allowed_ = admitted_.status().ok();
    } else {
      allowed_ = true;
    }
  }

  // What the handler is told; from then on it may answer, if that was OK.
  absl::Status Verdict() {
    if (method_ == nullptr) {
      return absl::InternalError("who may make this call isn't known, so nobody may");
    }
    asked_ = true;
    return allowed_ ? absl::OkStatus() : admitted_.status();
  }
  absl::Status AdmitMore() const {
    if (!MayAnswer()) return absl::InternalError(kNotAsked);
    return hooks_.admission == nullptr ? absl::OkStatus() : hooks_.admission->AdmitMore(admitted_);
  }
  bool MayAnswer() const { return asked_ && allowed_; }
  void Answered(const grpc::Status& status) {
    answer_ = absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                           absl::string_view(status.error_message()));
  }

  // Any thread may call.
  void CountUnread(int64_t bytes) {
    if (hooks_.unread == nullptr || bytes == 0) return;
    has_unread_.store(true, std::memory_order_relaxed);
    bytes > 0 ? hooks_.unread->Add(*this, bytes) : hooks_.unread->Remove(*this, -bytes);
  }

  void set_target(std::string target) { target_ = std::move(target); }
  void set_model(absl::string_view model) { model_ = std::string(model.substr(0, kMostModel)); }
  absl::string_view request_id() const { return request_id_.text(); }

 private:
  std::function<void()> Ender() override {
    // Held for whoever ends it, since it may be over by then.
    grpc_call_ref(c_call());
    return [call = c_call()] {
      Cancel(call, grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, kUnread));
      grpc_call_unref(call);
    };
  }

  const CallHooks& hooks_;
  const MethodScope* method_ = nullptr;  // null where there is no interceptor
  std::atomic<bool> has_unread_ = false;
  absl::Duration start_;
  Admitted admitted_;
  bool allowed_ = false;
  bool asked_ = false;
  bool has_trace_id_ = false;
  std::array<char, 32> trace_id_;
  RequestId request_id_;
  std::string peer_;  // of audited calls
  std::string target_, model_;
  absl::Status answer_ = absl::CancelledError("the call ended without an answer");
};

class CallInterceptor final : public Interceptor {
 public:
  explicit CallInterceptor(CallContext& context) : context_(context) {}

  void Intercept(BatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(Hook::POST_RECV_INITIAL_METADATA)) {
      context_.Arrived(*methods->GetRecvInitialMetadata());
    }
    if (methods->QueryInterceptionHookPoint(Hook::PRE_SEND_MESSAGE)) {
      if (!context_.MayAnswer()) {
        Refuse();
      } else if (const grpc::ByteBuffer* message = methods->GetSerializedSendMessage();
                 message != nullptr && message->Length() >= kLeastUnread) {
        sending_ = static_cast<int64_t>(message->Length());
        context_.CountUnread(sending_);
      }
    }
    if (methods->QueryInterceptionHookPoint(Hook::POST_SEND_MESSAGE)) {
      context_.CountUnread(-std::exchange(sending_, 0));
    }
    if (methods->QueryInterceptionHookPoint(Hook::PRE_SEND_STATUS)) {
      grpc::Status status = methods->GetSendStatus();
      if (status.ok() && !context_.MayAnswer()) {
        Refuse();
        status = grpc::Status(grpc::StatusCode::INTERNAL, kNotAsked);
        methods->ModifySendStatus(status);
      }
      if (!status.ok()) {
        methods->GetSendTrailingMetadata()->emplace("x-request-id", context_.request_id());
      }
      context_.Answered(status);
    }
    methods->Proceed();
  }

 private:
  // Before the batch begins, so that nothing of it is sent.
  void Refuse() { Cancel(context_.c_call(), grpc::Status(grpc::StatusCode::INTERNAL, kNotAsked)); }

  CallContext& context_;
  int64_t sending_ = 0;  // bytes of a message that counts
};

// gRPC's own reflection service answers on its own, and changes nothing: ending its call is enough.
class ReflectionInterceptor final : public Interceptor {
 public:
  ReflectionInterceptor(const CallHooks& hooks, grpc::ServerContextBase& context)
      : hooks_(hooks), context_(context) {}

  void Intercept(BatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(Hook::POST_RECV_INITIAL_METADATA)) {
      admitted_ = AskAdmission(hooks_, Scope::kRead, *methods->GetRecvInitialMetadata(), context_);
      if (!admitted_.status().ok()) Cancel(context_.c_call(), ToGrpcStatus(admitted_.status()));
    }
    methods->Proceed();
  }

 private:
  const CallHooks& hooks_;
  grpc::ServerContextBase& context_;
  Admitted admitted_;
};

// A method that is served and that the table doesn't know; Listen's callers don't let it come to
// this.
constexpr MethodScope kUnknown = {"unknown", Scope::kAdmin, false};

class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit Factory(std::shared_ptr<const CallHooks> hooks) : hooks_(std::move(hooks)) {}

  Interceptor* CreateServerInterceptor(grpc::experimental::ServerRpcInfo* info) override {
    const absl::string_view method(info->method());
    if (absl::StartsWith(method, "/grpc.reflection.") && hooks_->admission != nullptr) {
      return new ReflectionInterceptor(*hooks_, *info->server_context());
    }
    if (absl::StartsWith(method, "/grpc.")) return nullptr;
    // Null for what gRPC answers by itself: methods that no service has.
    auto* const context = dynamic_cast<CallContext*>(info->server_context());
    if (context == nullptr) return nullptr;
    const MethodScope* const scope = FindMethodScope(method);
    context->Begin(scope != nullptr ? *scope : kUnknown);
    return new CallInterceptor(*context);
  }

 private:
  const std::shared_ptr<const CallHooks> hooks_;
};

class Allocator final : public grpc::ContextAllocator {
 public:
  explicit Allocator(std::shared_ptr<const CallHooks> hooks) : hooks_(std::move(hooks)) {}

  grpc::CallbackServerContext* NewCallbackServerContext() override {
    return new CallContext(*hooks_);
  }
  grpc::GenericCallbackServerContext* NewGenericCallbackServerContext() override {
    return new grpc::GenericCallbackServerContext();
  }
  void Release(grpc::CallbackServerContext* context) override { delete context; }
  void Release(grpc::GenericCallbackServerContext* context) override { delete context; }

 private:
  const std::shared_ptr<const CallHooks> hooks_;
};

}  // namespace

void AddCallHooks(grpc::ServerBuilder& builder, CallHooks hooks, InterceptorFactories more) {
  const auto shared = std::make_shared<const CallHooks>(std::move(hooks));
  builder.SetContextAllocator(std::make_unique<Allocator>(shared));
  more.insert(more.begin(), std::make_unique<Factory>(shared));
  builder.experimental().SetInterceptorCreators(std::move(more));
}

Refusal::Refusal(grpc::CallbackServerContext* context) : context_(context) {
  auto* const call = dynamic_cast<CallContext*>(context);
  const absl::Status verdict =
      call != nullptr ? call->Verdict()
                      : absl::InternalError("who makes this call isn't known, so nobody may");
  if (verdict.ok()) return;
  status_ = ToGrpcStatus(verdict);
  if (const absl::Duration wait = RetryAfter(verdict); wait > absl::ZeroDuration()) {
    // What clients with a retry policy go by.
    context->AddTrailingMetadata("grpc-retry-pushback-ms",
                                 absl::StrCat(absl::ToInt64Milliseconds(wait)));
  }
}

grpc::ServerUnaryReactor* Refusal::FinishUnary() const {
  grpc::ServerUnaryReactor* const reactor = context_->DefaultReactor();
  reactor->Finish(status_);
  return reactor;
}

absl::Status AdmitMore(grpc::CallbackServerContext* context) {
  auto* const call = dynamic_cast<CallContext*>(context);
  return call == nullptr ? absl::OkStatus() : call->AdmitMore();
}

absl::Duration CameAt(const grpc::CallbackServerContext& context) {
  const auto* const call = dynamic_cast<const CallContext*>(&context);
  return call == nullptr ? absl::InfiniteDuration() : call->start();
}

void CountUnread(grpc::CallbackServerContext* context, int64_t bytes) {
  auto* const call = dynamic_cast<CallContext*>(context);
  if (call != nullptr) call->CountUnread(bytes);
}

void NoteTarget(grpc::CallbackServerContext* context, std::string target) {
  auto* const call = dynamic_cast<CallContext*>(context);
  if (call == nullptr) return;
  // Names that are none may be as long as a message.
  if (target.size() > kMostTarget) target.resize(kMostTarget);
  call->set_target(std::move(target));
}

void NoteModel(grpc::CallbackServerContext* context, absl::string_view model) {
  if (auto* const call = dynamic_cast<CallContext*>(context); call != nullptr) {
    call->set_model(model);
  }
}

std::string RequestIdOf(const grpc::CallbackServerContext& context) {
  const auto* const call = dynamic_cast<const CallContext*>(&context);
  return call == nullptr ? std::string() : std::string(call->request_id());
}

}  // namespace convd
