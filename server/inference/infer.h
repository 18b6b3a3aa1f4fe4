#ifndef CONVD_SERVER_INFERENCE_INFER_H_
#define CONVD_SERVER_INFERENCE_INFER_H_

#include <functional>

#include "absl/status/status.h"
#include "inference/open_inference_grpc.pb.h"
#include "server/predict/predictor.h"

namespace convd {

// ModelInfer, whatever carries it. Answers into `response` and calls `done` exactly once, on any
// thread, perhaps before this returns. INVALID_ARGUMENT names the field; else errors are those of
// Predictor and PredictQueue. `request` and `response` live until `done` is called. Any thread may
// call.
void Infer(Predictor& predictor, const inference::ModelInferRequest& request,
           inference::ModelInferResponse& response, StillWanted still_wanted,
           std::function<void(absl::Status)> done);

}  // namespace convd

#endif  // CONVD_SERVER_INFERENCE_INFER_H_
