#include "server/predict/model_loading.h"

#include <spdlog/spdlog.h>

#include <string>

#include "core/status/thrown.h"

namespace convd {

absl::StatusOr<std::shared_ptr<const LoadedModel>> LoadModel(ModelRepository& models,
                                                             const v1::ModelVersion& version,
                                                             v1::Precision precision) {
  absl::StatusOr<std::shared_ptr<const LoadedModel>> model =
      OrWhatItThrows("model", [&] { return models.Load(version, precision); });
  for (const std::string& warning : models.TakeWarnings()) spdlog::warn("{}", warning);
  return model;
}

}  // namespace convd
