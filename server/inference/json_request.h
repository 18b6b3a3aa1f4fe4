#ifndef CONVD_SERVER_INFERENCE_JSON_REQUEST_H_
#define CONVD_SERVER_INFERENCE_JSON_REQUEST_H_

#include <cstddef>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/nn/graph.h"
#include "inference/open_inference_grpc.pb.h"

namespace convd {

// An inference request as the Open Inference Protocol has it over HTTP.
struct JsonInferRequest {
  inference::ModelInferRequest request;  // with raw contents, whatever it came as
  bool binary_output = false;            // the answer's tensor follows its JSON
};

// Functions only; any thread may call. INVALID_ARGUMENT begins with the field's path. What is
// allocated is bounded by the body's size, and nesting by 8.

// `body` is JSON or, where `json_bytes` (Inference-Header-Content-Length) is there, so many bytes
// of JSON, not none, and the inputs' binary data. Fills in the model's name and version only where
// the body says them.
absl::StatusOr<JsonInferRequest> ReadJsonInferRequest(absl::string_view body,
                                                      std::optional<size_t> json_bytes);
// What Triton takes a body without JSON for (Inference-Header-Content-Length: 0): an image's bytes,
// of the model's shape.
JsonInferRequest RawBinaryInferRequest(absl::string_view body, Shape shape);

// The repository's calls; an empty body is as good as "{}". Models are named in the path.
absl::StatusOr<inference::RepositoryIndexRequest> ReadJsonIndexRequest(absl::string_view body);
absl::StatusOr<inference::RepositoryModelLoadRequest> ReadJsonLoadRequest(absl::string_view body);
absl::StatusOr<inference::RepositoryModelUnloadRequest> ReadJsonUnloadRequest(
    absl::string_view body);

}  // namespace convd

#endif  // CONVD_SERVER_INFERENCE_JSON_REQUEST_H_
