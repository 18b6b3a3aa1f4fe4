#ifndef CONVD_SERVER_INFERENCE_JSON_RESPONSE_H_
#define CONVD_SERVER_INFERENCE_JSON_RESPONSE_H_

#include <cstddef>
#include <optional>
#include <string>

#include "inference/open_inference_grpc.pb.h"

namespace convd {

// What the Open Inference Protocol answers over HTTP. Functions only; any thread may call. Text
// that isn't UTF-8, as a label may be, has U+FFFD in its place.

struct JsonInferResponse {
  std::string body;
  // Inference-Header-Content-Length, where binary data follows so many bytes of JSON.
  std::optional<size_t> json_bytes;
};

// REQUIRES: `response` is one of NewInferAnswer with raw contents.
JsonInferResponse WriteJsonInferResponse(const inference::ModelInferResponse& response,
                                         bool binary_output);

std::string JsonOf(const inference::ServerMetadataResponse& response);
std::string JsonOf(const inference::ModelMetadataResponse& response);
std::string JsonOf(const inference::RepositoryIndexResponse& response);

}  // namespace convd

#endif  // CONVD_SERVER_INFERENCE_JSON_RESPONSE_H_
