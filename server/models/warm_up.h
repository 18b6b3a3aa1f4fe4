#ifndef CONVD_SERVER_MODELS_WARM_UP_H_
#define CONVD_SERVER_MODELS_WARM_UP_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/dnn/inference_model.h"
#include "core/exec/executor.h"
#include "core/nn/graph.h"

namespace convd {

// CompileInferenceModel, and then each of the model's plans run once over blank images, in the
// predict lane, so that the first request finds buffers made, code generated and pages touched.
// Waits for a worker; not to be called on one.
absl::StatusOr<std::shared_ptr<const InferenceModel>> CompileAndWarmUp(
    Executor& executor, const Graph& graph, absl::Span<const float> parameters,
    const InferenceOptions& options);

}  // namespace convd

#endif  // CONVD_SERVER_MODELS_WARM_UP_H_
