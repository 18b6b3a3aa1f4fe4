#include "server/models/warm_up.h"

#include <cstdint>
#include <utility>
#include <vector>

#include "core/status/status_macros.h"

namespace convd {

absl::StatusOr<std::shared_ptr<const InferenceModel>> CompileAndWarmUp(
    Executor& executor, const Graph& graph, absl::Span<const float> parameters,
    const InferenceOptions& options) {
  CONVD_ASSIGN_OR_RETURN(std::shared_ptr<const InferenceModel> model,
                         CompileInferenceModel(graph, parameters, options));
  for (const int64_t images : PredictionSizes(graph)) {
    ImageSet blank;
    blank.count = images;
    blank.height = graph.input().height;
    blank.width = graph.input().width;
    blank.channels = graph.input().channels;
    const std::vector<uint8_t> pixels(static_cast<size_t>(images * blank.image_bytes()));
    blank.pixels = pixels.data();
    std::vector<float> probabilities(static_cast<size_t>(images * graph.classes()));
    absl::Status status;
    executor.ForEach(Lane::kPredict, 1, [&](int64_t) {
      status = model->Infer(blank, absl::MakeSpan(probabilities), executor, [] { return false; });
    });
    CONVD_RETURN_IF_ERROR(status);
  }
  return model;
}

}  // namespace convd
