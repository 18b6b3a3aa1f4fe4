#include "server/predict/model_loading.h"

#include <spdlog/spdlog.h>

#include <string>

namespace convd {

absl::StatusOr<std::shared_ptr<const LoadedModel>> LoadModel(ModelRepository& models,
                                                             const v1::ModelVersion& version,
                                                             v1::Precision precision) {
  absl::StatusOr<std::shared_ptr<const LoadedModel>> model = models.Load(version, precision);
  for (const std::string& warning : models.TakeWarnings()) spdlog::warn("{}", warning);
  return model;
}

}  // namespace convd
