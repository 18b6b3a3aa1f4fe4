#ifndef CONVD_CORE_DNN_CALIBRATION_H_
#define CONVD_CORE_DNN_CALIBRATION_H_

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "convd/v1/model.pb.h"
#include "core/data/dataset.h"
#include "core/exec/executor.h"
#include "core/nn/graph.h"

namespace convd {

// Images that a calibration looks at: enough that more of them changed no accuracy.
inline constexpr int64_t kCalibrationImages = 1024;

// The ranges of what each convolution and dense layer takes as input, from an f32 forward pass over
// at most kCalibrationImages of `images`, evenly spread over them, in tasks of `lane`.
// The same figures for any number of workers. CANCELLED once `cancelled` (asked at the cuts) says
// so; INVALID_ARGUMENT where the images don't fit the graph, or there are none; DATA_LOSS names the
// layer whose input isn't finite. Any thread that isn't a worker may call.
absl::StatusOr<v1::Quantization> Calibrate(const Graph& graph, absl::Span<const float> parameters,
                                           const ImageSet& images, Executor& executor, Lane lane,
                                           absl::FunctionRef<bool()> cancelled);

}  // namespace convd

#endif  // CONVD_CORE_DNN_CALIBRATION_H_
