#include "server/models/loaded_model.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace convd {

absl::StatusOr<std::shared_ptr<const LoadedModel>> CompileWeights(const CompileModel& compile,
                                                                  CheckedWeights weights,
                                                                  const std::string& path,
                                                                  v1::Precision precision) {
  absl::StatusOr<std::shared_ptr<const InferenceModel>> model =
      compile(weights.graph, weights.parameters,
              {.precision = precision, .quantization = &weights.card.quantization()});
  if (!model.ok()) {
    const bool ours = absl::IsInvalidArgument(model.status()) || absl::IsDataLoss(model.status());
    const absl::StatusCode code = ours ? absl::StatusCode::kInternal : model.status().code();
    return absl::Status(code, absl::StrCat(path, ": ", model.status().message()));
  }
  return std::make_shared<const LoadedModel>(
      LoadedModel{std::move(weights.card), *std::move(model), precision});
}

}  // namespace convd
