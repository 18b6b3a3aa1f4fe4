#ifndef CONVD_SERVER_RPC_CALL_CONTEXT_H_
#define CONVD_SERVER_RPC_CALL_CONTEXT_H_

#include <grpcpp/server_builder.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>
#include <grpcpp/support/server_interceptor.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/auth/admission.h"
#include "server/rpc/active_calls.h"
#include "server/rpc/finished_call.h"
#include "server/rpc/unread_answers.h"

namespace convd {

// What a gRPC server does with each of its calls. All outlives the server.
struct CallHooks {
  Admission* admission = nullptr;                 // null: everyone may do everything
  bool client_certificates = false;               // connections have been checked for one
  std::shared_ptr<ActiveCalls> active = nullptr;  // may be null
  // Bounds the answers that clients don't read; may be null. Calls that it ends have the status
  // RESOURCE_EXHAUSTED.
  std::shared_ptr<UnreadAnswers> unread = nullptr;
  std::function<void(const FinishedCall&)> on_finished = nullptr;  // on gRPC's threads; may be null
};

using InterceptorFactories =
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>>;

// From now on the server's callback services are asked only through contexts that know who calls,
// and whether it may: see Refusal. A handler that answers without having asked has its call ended
// with INTERNAL before anything is sent. Reflection needs the scope read; health is open to all.
// A builder takes interceptors once: `more` come after these.
void AddCallHooks(grpc::ServerBuilder& builder, CallHooks hooks, InterceptorFactories more = {});

// Why a call must not be answered. The first line of every handler, before anything else happens:
//   if (const Refusal refusal(context); refusal) return refusal;
// where the conversion ends the call with the status, whatever kind of reactor the handler returns.
// Fails for contexts of servers without AddCallHooks.
class [[nodiscard]] Refusal {
 public:
  explicit Refusal(grpc::CallbackServerContext* context);

  explicit operator bool() const { return !status_.ok(); }

  operator grpc::ServerUnaryReactor*() const {  // NOLINT: meant to be implicit
    return FinishUnary();
  }
  template <typename Response>
  operator grpc::ServerWriteReactor<Response>*() const {  // NOLINT
    return new Ended<grpc::ServerWriteReactor<Response>>(status_);
  }
  template <typename Request>
  operator grpc::ServerReadReactor<Request>*() const {  // NOLINT
    return new Ended<grpc::ServerReadReactor<Request>>(status_);
  }
  template <typename Request, typename Response>
  operator grpc::ServerBidiReactor<Request, Response>*() const {  // NOLINT
    return new Ended<grpc::ServerBidiReactor<Request, Response>>(status_);
  }

 private:
  template <typename Reactor>
  class Ended final : public Reactor {
   public:
    explicit Ended(const grpc::Status& status) { this->Finish(status); }
    void OnDone() override { delete this; }
  };

  grpc::ServerUnaryReactor* FinishUnary() const;

  grpc::CallbackServerContext* const context_;
  grpc::Status status_;
};

// Of each request of a stream that wasn't refused: OK where its caller may make another call now,
// for as many as one counts; else RESOURCE_EXHAUSTED, which answers that request alone.
absl::Status AdmitMore(grpc::CallbackServerContext* context);

// When the call came, by the monotonic clock; infinite where that isn't known.
absl::Duration CameAt(const grpc::CallbackServerContext& context);

// So many bytes more of answers wait to be sent, or fewer where negative: of a stream, beside the
// message that gRPC is sending. None once its reactor is done.
void CountUnread(grpc::CallbackServerContext* context, int64_t bytes);

// Notes what an audited call is about, such as "model m version 3"; the last word counts. Until its
// reactor is finished, by one thread at a time.
void NoteTarget(grpc::CallbackServerContext* context, std::string target);

// Notes which model a prediction or evaluation asks for, as NoteTarget does.
void NoteModel(grpc::CallbackServerContext* context, absl::string_view model);

// By which logs name this call; empty where the server has no AddCallHooks.
std::string RequestIdOf(const grpc::CallbackServerContext& context);

}  // namespace convd

#endif  // CONVD_SERVER_RPC_CALL_CONTEXT_H_
