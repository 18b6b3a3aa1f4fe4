#ifndef CONVD_SERVER_INFERENCE_MODEL_STATE_H_
#define CONVD_SERVER_INFERENCE_MODEL_STATE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "inference/open_inference_grpc.pb.h"
#include "server/models/repository.h"
#include "server/models/served_precision.h"

namespace convd {

// What the Open Inference Protocol tells of the server and its models. Functions only; any thread
// may call, and none reads a file.

// `version` is the server's.
void FillServerMetadata(const char* version, inference::ServerMetadataResponse& response);

// The tensors of the version that is meant, and the numbers of all that the name has. Errors as of
// ModelRepository::Get.
absl::Status FillModelMetadata(ModelRepository& models, const v1::ModelVersion& version,
                               inference::ModelMetadataResponse& response);

// OK where ModelInfer would be answered, be it that the version is loaded for it; else why not. A
// load that fails, for want of memory say, isn't foreseen.
absl::Status CheckReady(ModelRepository& models, const v1::ModelVersion& version,
                        const PrecisionCheck& check = CheckPrecision);

// Every version by name, the newest first; then those that are damaged, but for `ready_only`.
// OUT_OF_RANGE where the response would take more than `max_bytes`.
absl::Status FillRepositoryIndex(ModelRepository& models, bool ready_only, int64_t max_bytes,
                                 inference::RepositoryIndexResponse& response,
                                 const PrecisionCheck& check = CheckPrecision);

}  // namespace convd

#endif  // CONVD_SERVER_INFERENCE_MODEL_STATE_H_
