#ifndef CONVD_SERVER_PREDICT_MODEL_LOADING_H_
#define CONVD_SERVER_PREDICT_MODEL_LOADING_H_

#include <memory>

#include "absl/status/statusor.h"
#include "convd/v1/model.pb.h"
#include "server/models/repository.h"

namespace convd {

// models.Load, with what the repository warns of in the log. Blocks.
absl::StatusOr<std::shared_ptr<const LoadedModel>> LoadModel(ModelRepository& models,
                                                             const v1::ModelVersion& version,
                                                             v1::Precision precision);

}  // namespace convd

#endif  // CONVD_SERVER_PREDICT_MODEL_LOADING_H_
