#ifndef CONVD_SERVER_INFERENCE_INFER_REQUEST_H_
#define CONVD_SERVER_INFERENCE_INFER_REQUEST_H_

#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "convd/v1/model.pb.h"
#include "core/data/dataset.h"
#include "core/nn/graph.h"
#include "inference/open_inference_grpc.pb.h"

namespace convd {

// Which version the Open Inference Protocol's pair of strings names: `version` is empty (what
// answers for the name), a number as "3", or a label. INVALID_ARGUMENT begins with the field of the
// one that can't be. Any thread may call.
absl::StatusOr<v1::ModelVersion> ReadNamedVersion(std::string_view name_field,
                                                  std::string_view name,
                                                  std::string_view version_field,
                                                  std::string_view version);

// What a ModelInfer request asks for, once it is checked against a model. A plain value; it points
// into the request.
struct InferTask {
  // The pixels: `count` images of the model's shape, little-endian, channels innermost. Floats may
  // lie on any byte and need not be finite.
  ElementType type = ElementType::kUint8;
  int64_t count = 0;
  absl::string_view bytes;            // in the request itself, or in `owner`
  std::shared_ptr<const void> owner;  // where the request's values had to be narrowed
  // What the request, and the owner, hold of memory for the pixels. A UINT8 that came as a number
  // takes five times what it says.
  int64_t held_bytes = 0;

  // The answer's form.
  bool raw = false;        // raw_output_contents, as the request's; else typed contents
  int classification = 0;  // so many most probable classes as text; 0: all probabilities
};

// INVALID_ARGUMENT begins with the field's path and says what would be right. Nothing is allocated
// that isn't known to be bounded by the request's own size. Doesn't look at the model's name and
// version. Any thread may call.
absl::StatusOr<InferTask> ReadInferRequest(const inference::ModelInferRequest& request, Shape shape,
                                           int classes, int64_t max_images);

}  // namespace convd

#endif  // CONVD_SERVER_INFERENCE_INFER_REQUEST_H_
