#ifndef CONVD_SERVER_INFERENCE_JSON_RESPONSE_H_
#define CONVD_SERVER_INFERENCE_JSON_RESPONSE_H_

#include <cstddef>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "inference/open_inference_grpc.pb.h"

namespace convd {

// What the Open Inference Protocol answers over HTTP. Functions only; any thread may call. Text
// that isn't UTF-8, as a label may be, has U+FFFD in its place.

struct JsonInferResponse {
  std::string body;
  // Inference-Header-Content-Length, where binary data follows so many bytes of JSON.
  std::optional<size_t> json_bytes;
};

// INVALID_ARGUMENT where it would take more than about `max_bytes`: as text, a float takes up to
// four times as much as in a message. REQUIRES: `response` is one of NewInferAnswer with raw
// contents.
absl::StatusOr<JsonInferResponse> WriteJsonInferResponse(
    const inference::ModelInferResponse& response, bool binary_output, size_t max_bytes);

std::string JsonOf(const inference::ServerMetadataResponse& response);
std::string JsonOf(const inference::ModelMetadataResponse& response);
std::string JsonOf(const inference::RepositoryIndexResponse& response);

}  // namespace convd

#endif  // CONVD_SERVER_INFERENCE_JSON_RESPONSE_H_
