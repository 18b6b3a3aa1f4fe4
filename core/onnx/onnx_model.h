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
// A dense kernel's rows stand in the order in which ONNX flattens an image (dense_rows.h). A
// network that does not end in softmax gets one. `parameters` are all of the graph's, canonical, in
// order; `labels` one a class, or none. INVALID_ARGUMENT where either does not fit, a parameter is
// not finite or a label not UTF-8. Deterministic: same arguments, same bytes. Any thread may call.
absl::StatusOr<std::string> WriteOnnx(const Graph& graph, absl::Span<const float> parameters,
                                      const std::vector<std::string>& labels);

// The parameters of `graph`, canonical, in order, out of a file that WriteOnnx made. The bytes may
// be hostile: INVALID_ARGUMENT naming the initializer where one is missing, extra, of another shape
// or type, or not finite. Allocates no more than the graph's parameters need, whatever the bytes
// say. Any thread may call.
absl::StatusOr<std::vector<float>> ReadOnnxParameters(std::string_view bytes, const Graph& graph);

}  // namespace convd

#endif  // CONVD_CORE_ONNX_ONNX_MODEL_H_
