#ifndef CONVD_CORE_EVAL_EVALUATE_H_
#define CONVD_CORE_EVAL_EVALUATE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "convd/v1/model.pb.h"
#include "core/data/dataset.h"
#include "core/dnn/inference_model.h"
#include "core/exec/executor.h"

namespace convd {

// With more classes the confusion matrix is left out: it grows with their square, and cards and
// messages have to hold it.
inline constexpr int64_t kMostConfusionClasses = 500;

// Figures from probabilities (samples x classes) and labels. Loss is the mean of -log p[label], p
// at least 1e-38. A prediction is the most probable class, of equal ones the lowest. Sums run in
// sample order, so equal inputs give equal bits. REQUIRES: labels in [0, classes),
// class_names.size() == classes.
v1::Metrics ComputeMetrics(absl::Span<const float> probabilities, absl::Span<const int32_t> labels,
                           const std::vector<std::string>& class_names);

// Runs `model` over `images` on the executor's workers in `lane` and returns the figures. Blocks
// the calling thread, which may not be a worker. `probabilities`, if given, gets samples x classes
// values. CANCELLED once `cancelled` (asked at the cuts, by several threads) says so;
// RESOURCE_EXHAUSTED where memory is short.
absl::StatusOr<v1::Metrics> Evaluate(const InferenceModel& model, const ImageSet& images,
                                     const std::vector<std::string>& class_names,
                                     Executor& executor, Lane lane,
                                     absl::FunctionRef<bool()> cancelled,
                                     std::vector<float>* probabilities = nullptr);

}  // namespace convd

#endif  // CONVD_CORE_EVAL_EVALUATE_H_
