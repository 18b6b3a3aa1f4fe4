#ifndef CONVD_SERVER_RPC_PREDICTOR_SERVICE_H_
#define CONVD_SERVER_RPC_PREDICTOR_SERVICE_H_

#include "convd/v1/predictor.grpc.pb.h"
#include "core/exec/executor.h"
#include "server/models/repository.h"
#include "server/predict/blocking_calls.h"
#include "server/predict/predict.h"

namespace convd {

// convd.v1.Predictor: checks, then queues in the predict lane. A model that isn't in memory yet is
// loaded on a thread of its own, so that predictions of others go on. The destructor waits until
// every accepted request is answered; repository and executor outlive the service, and the gRPC
// server is gone before it.
class PredictorService final : public v1::Predictor::CallbackService {
 public:
  PredictorService(ModelRepository& models, Executor& executor, const PredictLimits& limits = {});

  grpc::ServerUnaryReactor* Predict(grpc::CallbackServerContext* context,
                                    const v1::PredictRequest* request,
                                    v1::PredictResponse* response) override;

 private:
  ModelRepository& models_;
  PredictQueue queue_;
  BlockingCalls loads_;  // last: its calls use the queue
};

}  // namespace convd

#endif  // CONVD_SERVER_RPC_PREDICTOR_SERVICE_H_
