#ifndef CONVD_SERVER_INFERENCE_MODEL_STATE_H_
#define CONVD_SERVER_INFERENCE_MODEL_STATE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "inference/open_inference_grpc.pb.h"
#include "server/models/repository.h"
#include "server/models/served_precision.h"

namespace convd {

// What the Open Inference Protocol tells of the server and its models, and asks of them beside
// inference. Functions only; any thread may call, and none but LoadNamedModel reads a file.

// `version` is the server's.
void FillServerMetadata(const std::string& version, inference::ServerMetadataResponse& response);

// The tensors of the version that is meant, and the numbers of all that the name has. Errors as of
// ModelRepository::Get.
absl::Status FillModelMetadata(ModelRepository& models, const v1::ModelVersion& version,
                               inference::ModelMetadataResponse& response);

// OK where ModelInfer would be answered, be it that the version is loaded for it; else why not. A
// load that fails, for want of memory say, isn't foreseen.
absl::Status CheckReady(ModelRepository& models, const v1::ModelVersion& version,
                        const PrecisionCheck& check = CheckPrecision);

// Triton's model repository calls. There is one repository, so naming one is UNIMPLEMENTED, as of
// Triton.

// Every version by name, the newest first; then those that are damaged, where not only those that
// are ready are asked for. OUT_OF_RANGE where the response would take more than `max_bytes`.
absl::Status FillRepositoryIndex(ModelRepository& models,
                                 const inference::RepositoryIndexRequest& request,
                                 int64_t max_bytes, inference::RepositoryIndexResponse& response,
                                 const PrecisionCheck& check = CheckPrecision);

// What answers for the name is in memory then. Blocks; errors as of ModelRepository::Load.
absl::Status LoadNamedModel(ModelRepository& models,
                            const inference::RepositoryModelLoadRequest& request);

// Gives back the memory of all versions of the name, as ModelRepository::Unload does.
absl::Status UnloadNamedModel(ModelRepository& models,
                              const inference::RepositoryModelUnloadRequest& request);

}  // namespace convd

#endif  // CONVD_SERVER_INFERENCE_MODEL_STATE_H_
