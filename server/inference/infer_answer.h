#ifndef CONVD_SERVER_INFERENCE_INFER_ANSWER_H_
#define CONVD_SERVER_INFERENCE_INFER_ANSWER_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "inference/open_inference_grpc.pb.h"
#include "server/inference/infer_request.h"
#include "server/models/loaded_model.h"
#include "server/predict/predict_queue.h"

namespace convd {

// Fills a ModelInfer response with probabilities, in the form that the request asked for, then
// calls `done`. INVALID_ARGUMENT where the response could take more than `max_bytes`; nothing is
// allocated then. `response` lives until `done` is called.
absl::StatusOr<std::shared_ptr<PredictAnswer>> NewInferAnswer(
    const inference::ModelInferRequest& request, const InferTask& task,
    std::shared_ptr<const LoadedModel> model, int64_t max_bytes,
    inference::ModelInferResponse& response, std::function<void(absl::Status)> done);

}  // namespace convd

#endif  // CONVD_SERVER_INFERENCE_INFER_ANSWER_H_
