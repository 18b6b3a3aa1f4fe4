#ifndef CONVD_CORE_TRAIN_SERVING_EVALUATION_H_
#define CONVD_CORE_TRAIN_SERVING_EVALUATION_H_

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "convd/v1/model.pb.h"
#include "core/exec/executor.h"
#include "core/nn/graph.h"
#include "core/train/trainer.h"

namespace convd {

// What a trainer's weights are worth when they are served: by the inference that Evaluate and
// Predict will run. CANCELLED when `cancelled` says so, which leaves validation() and
// quantization() as they were; DATA_LOSS says what isn't finite. One thread at a time, which may
// not be one of the executor's workers.
class ServingEvaluation {
 public:
  // All are the caller's and outlive this.
  ServingEvaluation(const Graph& graph, const TrainingData& data, v1::Precision serving_precision,
                    Executor& executor)
      : graph_(graph), data_(data), serving_precision_(serving_precision), executor_(executor) {}

  // At the serving precision, for int8 calibrating first.
  absl::Status Validate(absl::Span<const float> weights, absl::FunctionRef<bool()> cancelled);
  // Trainer::PrepareServing, whose last validation was of these weights.
  absl::Status Prepare(absl::Span<const float> weights, absl::FunctionRef<bool()> cancelled);

  // As Trainer has them.
  const v1::Metrics& validation() const { return validation_; }
  const v1::Quantization& quantization() const { return quantization_; }
  const std::vector<v1::ServedAccuracy>& served() const { return served_; }
  const std::vector<std::string>& warnings() const { return warnings_; }
  // Takes what an earlier validation found for this one's.
  void Set(v1::Metrics validation, v1::Quantization quantization);

 private:
  absl::Status CalibrateAgain(absl::Span<const float> weights, absl::FunctionRef<bool()> cancelled);
  absl::StatusOr<v1::Metrics> EvaluateAt(v1::Precision precision, absl::Span<const float> weights,
                                         absl::FunctionRef<bool()> cancelled) const;
  bool calibrated() const { return quantization_.samples() > 0; }

  const Graph& graph_;
  const TrainingData& data_;
  const v1::Precision serving_precision_;
  Executor& executor_;
  v1::Metrics validation_;
  v1::Quantization quantization_;
  std::vector<v1::ServedAccuracy> served_;
  std::vector<std::string> warnings_;
};

}  // namespace convd

#endif  // CONVD_CORE_TRAIN_SERVING_EVALUATION_H_
