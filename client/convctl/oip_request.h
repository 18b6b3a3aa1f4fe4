#ifndef CONVD_CLIENT_CONVCTL_OIP_REQUEST_H_
#define CONVD_CLIENT_CONVCTL_OIP_REQUEST_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "convd/v1/images.pb.h"
#include "convd/v1/model.pb.h"
#include "inference/open_inference_grpc.pb.h"

namespace convd {

// The one input of a model of the Open Inference Protocol, as its metadata has it.
struct OipInput {
  std::string name;
  bool is_float = false;                     // FP32; else UINT8
  std::array<int64_t, 3> shape = {1, 1, 1};  // of an image; dimensions that it lacks are 1
  int rank = 3;                              // how many it has

  int64_t elements() const { return shape[0] * shape[1] * shape[2]; }
};

// UNIMPLEMENTED, naming what would do, where the model takes something else than a batch of images
// of one shape.
absl::StatusOr<OipInput> OipInputOf(const inference::ModelMetadataResponse& metadata);

// ModelInfer of these pixels, raw; bytes become floats of the same value where the model takes
// FP32. A usage error (exit_code.h) for encoded images, and for pixels that the model doesn't take.
absl::StatusOr<inference::ModelInferRequest> OipRequest(const v1::ModelVersion& model,
                                                        const OipInput& input,
                                                        const v1::Images& images);

// The protocol's: a number, a label, or nothing.
std::string OipVersion(const v1::ModelVersion& model);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_OIP_REQUEST_H_
