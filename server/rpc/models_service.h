#ifndef CONVD_SERVER_RPC_MODELS_SERVICE_H_
#define CONVD_SERVER_RPC_MODELS_SERVICE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "convd/v1/models.grpc.pb.h"
#include "core/exec/executor.h"
#include "core/time/clock.h"
#include "server/models/repository.h"
#include "server/predict/blocking_calls.h"

namespace convd {

struct ExplainLimits {
  int waiting = 4;           // while one runs; more are refused with RESOURCE_EXHAUSTED
  int64_t memory_bytes = 0;  // what running a network's plans may take; 0: no limit
};

// convd.v1.Models. Answers from memory, on the callback's thread; but explains models one at a time
// in the evaluate lane, waited for by a thread of the service. The destructor waits for those that
// were accepted; repository, executor and clock outlive the service, and the gRPC server is gone
// before it.
class ModelsService final : public v1::Models::CallbackService {
 public:
  ModelsService(ModelRepository& models, Executor& executor, const ExplainLimits& limits = {},
                const Clock& clock = Clock::Real());

  // A page ends at page_size models or about a megabyte. Its token names the last model shown, so
  // versions published meanwhile make no other one appear twice or never.
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest* request,
                                     v1::Model* response) override;
  grpc::ServerUnaryReactor* ExplainModel(grpc::CallbackServerContext* context,
                                         const v1::ExplainModelRequest* request,
                                         v1::ExplainModelResponse* response) override;

 private:
  absl::Status List(const v1::ListModelsRequest& request, v1::ListModelsResponse& response);
  absl::Status Explain(const grpc::CallbackServerContext& context,
                       const v1::ExplainModelRequest& request, v1::ExplainModelResponse& response);

  ModelRepository& models_;
  Executor& executor_;
  const ExplainLimits limits_;
  const Clock& clock_;
  BlockingCalls calls_;  // last: its calls use the rest
};

}  // namespace convd

#endif  // CONVD_SERVER_RPC_MODELS_SERVICE_H_
