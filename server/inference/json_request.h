#ifndef CONVD_SERVER_INFERENCE_JSON_REQUEST_H_
#define CONVD_SERVER_INFERENCE_JSON_REQUEST_H_

#include <cstddef>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "inference/open_inference_grpc.pb.h"

namespace convd {

// An inference request as the Open Inference Protocol has it over HTTP.
struct JsonInferRequest {
  inference::ModelInferRequest request;  // with raw contents, whatever it came as
  bool binary_output = false;            // the answer's tensor follows its JSON
};

// `body` is JSON or, where `json_bytes` (Inference-Header-Content-Length) is there, so many bytes
// of JSON and the inputs' binary data. INVALID_ARGUMENT begins with the field's path. What is
// allocated is bounded by the body's size, and nesting by 8. Fills in the model's name and version
// only where the body says them. Any thread may call.
absl::StatusOr<JsonInferRequest> ReadJsonInferRequest(absl::string_view body,
                                                      std::optional<size_t> json_bytes);

}  // namespace convd

#endif  // CONVD_SERVER_INFERENCE_JSON_REQUEST_H_
