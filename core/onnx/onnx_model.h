#ifndef CONVD_CORE_ONNX_ONNX_MODEL_H_
#define CONVD_CORE_ONNX_ONNX_MODEL_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/nn/graph.h"

namespace convd {

// model.onnx: opset 13, one input "images" of uint8 {N, height, width, channels} and one output
// "probabilities" of f32 {N, classes}. Preprocessing is part of it: Cast, Mul by the scale,
// Transpose to NCHW. Initializers bear the parameters' names. Metadata: the class labels.
// `parameters` are all of the graph's, canonical, in order. Deterministic: same arguments, same
// bytes.
absl::StatusOr<std::string> WriteOnnx(const Graph& graph, absl::Span<const float> parameters,
                                      const std::vector<std::string>& labels);

// The parameters of `graph`, canonical, in order, out of a file that WriteOnnx made. The bytes may
// be hostile: INVALID_ARGUMENT naming the initializer where one is missing, extra, of another shape
// or type, or not finite.
absl::StatusOr<std::vector<float>> ReadOnnxParameters(std::string_view bytes, const Graph& graph);

}  // namespace convd

#endif  // CONVD_CORE_ONNX_ONNX_MODEL_H_
