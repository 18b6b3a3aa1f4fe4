#ifndef CONVD_TESTS_CONFORMANCE_ONNX_RUNTIME_H_
#define CONVD_TESTS_CONFORMANCE_ONNX_RUNTIME_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/dataset.h"
#include "core/onnx/onnx_model.h"

namespace convd {

// Whether `npm ci --ignore-scripts` was run in tests/conformance. Tests skip where it was not,
// unless CONVD_REQUIRE_CONFORMANCE is set in the environment (as scripts/test --all does).
bool OnnxRuntimeInstalled();
bool OnnxRuntimeRequired();

// images.count x classes probabilities, as ONNX Runtime (in a Node.js process) computes them from
// the bytes of a model.onnx, which gets the images as its entry wants them. REQUIRES: images are
// uint8.
absl::StatusOr<std::vector<float>> RunOnnxRuntime(const std::string& model, const ImageSet& images,
                                                  OnnxEntry entry = OnnxEntry::kUint8Nhwc);

}  // namespace convd

#endif  // CONVD_TESTS_CONFORMANCE_ONNX_RUNTIME_H_
