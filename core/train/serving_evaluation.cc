#include "core/train/serving_evaluation.h"

#include <cmath>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/dnn/calibration.h"
#include "core/dnn/inference_model.h"
#include "core/dnn/precision.h"
#include "core/eval/evaluate.h"
#include "core/status/status_macros.h"

namespace convd {

absl::Status ServingEvaluation::Validate(absl::Span<const float> weights,
                                         absl::FunctionRef<bool()> cancelled) {
  // Kept until the validation is whole, so that one cut short leaves the last one's two together.
  const v1::Quantization before = quantization_;
  if (serving_precision_ == v1::PRECISION_INT8)
    CONVD_RETURN_IF_ERROR(CalibrateAgain(weights, cancelled));
  absl::StatusOr<v1::Metrics> metrics = EvaluateAt(serving_precision_, weights, cancelled);
  if (absl::IsCancelled(metrics.status())) quantization_ = before;
  CONVD_RETURN_IF_ERROR(metrics.status());
  validation_ = *std::move(metrics);
  // Weights may be finite and too large all the same.
  if (std::isfinite(validation_.loss())) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("the validation loss is ", validation_.loss()));
}

absl::Status ServingEvaluation::Prepare(absl::Span<const float> weights,
                                        absl::FunctionRef<bool()> cancelled) {
  served_.clear();
  warnings_.clear();
  // For int8 the last validation has calibrated these very weights.
  const bool serves_int8 = serving_precision_ == v1::PRECISION_INT8;
  if (!serves_int8 || !calibrated()) {
    const absl::Status status = CalibrateAgain(weights, cancelled);
    // A trained version isn't lost for what it may do without.
    if (serves_int8 || absl::IsCancelled(status)) CONVD_RETURN_IF_ERROR(status);
    if (!status.ok()) {
      warnings_.push_back(absl::StrCat(
          "it can't be served at int8, since it could not be calibrated: ", status.message()));
    }
  }
  if (data_.validation.count == 0) return absl::OkStatus();
  for (const v1::Precision precision : kPrecisions) {
    if (!CheckPrecision("precision", precision).ok()) continue;
    if (precision == v1::PRECISION_INT8 && !calibrated()) continue;
    const bool validated = precision == serving_precision_ && validation_.samples() > 0;
    const absl::StatusOr<v1::Metrics> metrics =
        validated ? validation_ : EvaluateAt(precision, weights, cancelled);
    if (absl::IsCancelled(metrics.status())) return metrics.status();
    if (!metrics.ok() || !std::isfinite(metrics->loss())) {
      const std::string_view name = PrecisionName(precision);
      warnings_.push_back(absl::StrCat(
          "its accuracy at ", absl::string_view(name.data(), name.size()),
          " is left out: ", metrics.ok() ? "the loss isn't finite" : metrics.status().message()));
      continue;
    }
    v1::ServedAccuracy& served = served_.emplace_back();
    served.set_precision(precision);
    served.set_samples(metrics->samples());
    served.set_loss(metrics->loss());
    served.set_accuracy(metrics->accuracy());
  }
  return absl::OkStatus();
}

void ServingEvaluation::Set(v1::Metrics validation, v1::Quantization quantization) {
  validation_ = std::move(validation);
  quantization_ = std::move(quantization);
}

absl::Status ServingEvaluation::CalibrateAgain(absl::Span<const float> weights,
                                               absl::FunctionRef<bool()> cancelled) {
  absl::StatusOr<v1::Quantization> made =
      Calibrate(graph_, weights, data_.train, executor_, Lane::kTrain, cancelled);
  if (absl::IsCancelled(made.status())) return made.status();
  quantization_.Clear();
  CONVD_RETURN_IF_ERROR(made.status());
  quantization_ = *std::move(made);
  return absl::OkStatus();
}

absl::StatusOr<v1::Metrics> ServingEvaluation::EvaluateAt(
    v1::Precision precision, absl::Span<const float> weights,
    absl::FunctionRef<bool()> cancelled) const {
  CONVD_ASSIGN_OR_RETURN(
      const std::shared_ptr<const InferenceModel> model,
      CompileInferenceModel(graph_, weights,
                            {.precision = precision, .quantization = &quantization_}));
  return Evaluate(*model, data_.validation, data_.labels, executor_, Lane::kTrain, cancelled);
}

}  // namespace convd
