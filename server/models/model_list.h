#ifndef CONVD_SERVER_MODELS_MODEL_LIST_H_
#define CONVD_SERVER_MODELS_MODEL_LIST_H_

#include "absl/status/status.h"
#include "convd/v1/models.pb.h"
#include "server/models/repository.h"

namespace convd {

// What gRPC and HTTP both answer about models, from memory. Any thread may call.

// A page ends at page_size models or about a megabyte. Its token names the last model shown, so
// versions published meanwhile make no other one appear twice or never. INVALID_ARGUMENT names the
// field.
absl::Status ListModels(ModelRepository& models, const v1::ListModelsRequest& request,
                        v1::ListModelsResponse& response);
absl::Status GetModel(ModelRepository& models, const v1::GetModelRequest& request,
                      v1::Model& response);

}  // namespace convd

#endif  // CONVD_SERVER_MODELS_MODEL_LIST_H_
