#include "server/inference/infer.h"

#include <memory>
#include <utility>

#include "core/status/status_macros.h"
#include "server/inference/infer_answer.h"
#include "server/inference/infer_request.h"

namespace convd {
namespace {

absl::Status Start(PredictQueue& queue, std::shared_ptr<const LoadedModel> model,
                   const inference::ModelInferRequest& request,
                   inference::ModelInferResponse& response, StillWanted still_wanted,
                   std::function<void(absl::Status)> done, PredictQueue::Place& place) {
  const Graph& graph = model->model->graph();
  const Shape shape = graph.input();
  const int64_t max_images = queue.limits().max_images;
  CONVD_ASSIGN_OR_RETURN(const InferTask task,
                         ReadInferRequest(request, shape, graph.classes(), max_images));
  CONVD_ASSIGN_OR_RETURN(
      RequestImages images,
      RequestImages::FromPixels("inputs[0]", task.type, task.count, shape, task.bytes, shape,
                                max_images, task.owner, task.held_bytes));
  CONVD_ASSIGN_OR_RETURN(std::shared_ptr<PredictAnswer> answer,
                         NewInferAnswer(request, task, model, queue.limits().max_response_bytes,
                                        response, std::move(done)));
  queue.Predict(std::move(model), std::move(images), std::move(still_wanted), std::move(answer),
                std::move(place));
  return absl::OkStatus();
}

}  // namespace

void Infer(Predictor& predictor, const inference::ModelInferRequest& request,
           inference::ModelInferResponse& response, StillWanted still_wanted,
           std::function<void(absl::Status)> done) {
  const absl::StatusOr<v1::ModelVersion> version = ReadNamedVersion(
      "model_name", request.model_name(), "model_version", request.model_version());
  if (!version.ok()) return done(version.status());
  const bool sized = request.inputs_size() > 0 && request.inputs(0).shape_size() > 0;
  predictor.WithModel(*version, v1::PRECISION_UNSPECIFIED,
                      {request, sized ? request.inputs(0).shape(0) : 0}, still_wanted,
                      [&predictor, &request, &response, still_wanted, done = std::move(done)](
                          Predictor::LoadedOr model, PredictQueue::Place place) {
                        if (!model.ok()) return done(model.status());
                        // From here on `done` is the answer's, unless the request is refused.
                        absl::Status refused = Start(predictor.queue(), *std::move(model), request,
                                                     response, still_wanted, done, place);
                        if (refused.ok()) return;
                        place.GiveBack();
                        done(std::move(refused));
                      });
}

}  // namespace convd
