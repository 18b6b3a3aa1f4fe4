#ifndef CONVD_SERVER_RPC_EVALUATOR_SERVICE_H_
#define CONVD_SERVER_RPC_EVALUATOR_SERVICE_H_

#include <cstdint>

#include "convd/v1/evaluator.grpc.pb.h"
#include "core/exec/executor.h"
#include "core/time/clock.h"
#include "server/datasets/registry.h"
#include "server/models/repository.h"
#include "server/predict/blocking_calls.h"

namespace convd {

struct EvaluateLimits {
  int at_once = 4;                          // each on a thread of its own
  int waiting = 4;                          // more are refused with RESOURCE_EXHAUSTED
  int64_t max_images = 65'536;              // sent along
  int64_t max_image_bytes = 256LL << 20;    // of those, decoded
  int64_t max_response_bytes = 64LL << 20;  // of probabilities
  DataLimits files;                         // of each PNG or JPEG file
};

// convd.v1.Evaluator: evaluations in the evaluate lane, each waited for by a thread of the
// service. The destructor waits for those that were accepted; repository, registry, executor and
// clock outlive the service, and the gRPC server is gone before it.
class EvaluatorService final : public v1::Evaluator::CallbackService {
 public:
  EvaluatorService(ModelRepository& models, DatasetRegistry& datasets, Executor& executor,
                   const EvaluateLimits& limits = {}, const Clock& clock = Clock::Real());

  grpc::ServerUnaryReactor* Evaluate(grpc::CallbackServerContext* context,
                                     const v1::EvaluateRequest* request,
                                     v1::EvaluateResponse* response) override;

 private:
  absl::Status Run(const grpc::CallbackServerContext& context, const v1::EvaluateRequest& request,
                   v1::EvaluateResponse& response);

  ModelRepository& models_;
  DatasetRegistry& datasets_;
  Executor& executor_;
  const EvaluateLimits limits_;
  const Clock& clock_;
  BlockingCalls calls_;  // last: its calls use the rest
};

}  // namespace convd

#endif  // CONVD_SERVER_RPC_EVALUATOR_SERVICE_H_
