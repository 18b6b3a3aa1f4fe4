#ifndef CONVD_SERVER_RPC_PREDICTOR_SERVICE_H_
#define CONVD_SERVER_RPC_PREDICTOR_SERVICE_H_

#include "convd/v1/predictor.grpc.pb.h"
#include "server/predict/predictor.h"

namespace convd {

// convd.v1.Predictor. The predictor outlives the service, and the gRPC server is gone before it.
class PredictorService final : public v1::Predictor::CallbackService {
 public:
  explicit PredictorService(Predictor& predictor) : predictor_(predictor) {}

  grpc::ServerUnaryReactor* Predict(grpc::CallbackServerContext* context,
                                    const v1::PredictRequest* request,
                                    v1::PredictResponse* response) override;

 private:
  Predictor& predictor_;
};

}  // namespace convd

#endif  // CONVD_SERVER_RPC_PREDICTOR_SERVICE_H_
