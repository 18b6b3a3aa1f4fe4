#ifndef CONVD_CORE_ONNX_ONNX_MODEL_H_
#define CONVD_CORE_ONNX_ONNX_MODEL_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/nn/graph.h"

namespace convd {

// What "images" takes. The values of f32 pixels are those that bytes have, 0 to 255: the scale is
// part of the model for all of them.
enum class OnnxEntry { kUint8Nhwc, kUint8Nchw, kFloat32Nhwc, kFloat32Nchw };

inline bool TakesBytes(OnnxEntry entry) {
  return entry == OnnxEntry::kUint8Nhwc || entry == OnnxEntry::kUint8Nchw;
}
inline bool TakesChannelsFirst(OnnxEntry entry) {
  return entry == OnnxEntry::kUint8Nchw || entry == OnnxEntry::kFloat32Nchw;
}

// In all of these the writer's operators have one form.
constexpr int kMinOpset = 13;
constexpr int kMaxOpset = 17;

// INVALID_ARGUMENT, beginning with "opset", where it is none of these.
absl::Status CheckOpset(int opset);

// The defaults are the form of a published version.
struct OnnxOptions {
  int opset = kMinOpset;
  OnnxEntry entry = OnnxEntry::kUint8Nhwc;
};

// model.onnx: one input "images" {N, height, width, channels} or, as the entry says, {N, channels,
// height, width}, and one output "probabilities" of f32 {N, classes}. Preprocessing is part of it:
// Cast of bytes, Mul by the scale, Transpose to NCHW where it isn't that yet. Initializers bear the
// parameters' names. Metadata: the class labels. docs/onnx.md is for those who use it.
// A dense kernel's rows stand in the order in which ONNX flattens an image (dense_rows.h). A
// network that does not end in softmax gets one. `parameters` are all of the graph's, canonical, in
// order; `labels` one a class, or none. INVALID_ARGUMENT where either does not fit, a parameter is
// not finite, a label not UTF-8 or the opset out of range. Deterministic: same arguments, same
// bytes. Any thread may call.
absl::StatusOr<std::string> WriteOnnx(const Graph& graph, absl::Span<const float> parameters,
                                      const std::vector<std::string>& labels,
                                      const OnnxOptions& options = {});

// The parameters of `graph`, canonical, in order, out of a file that WriteOnnx made, or that
// another program wrote again with the same initializers, at an opset that WriteOnnx has. The bytes
// may be hostile: INVALID_ARGUMENT naming the initializer where one is missing, extra, of another
// shape or type, or not finite, or opset_import where that is another one. Allocates no more than
// the graph's parameters need, whatever the bytes say. Any thread may call.
absl::StatusOr<std::vector<float>> ReadOnnxParameters(std::string_view bytes, const Graph& graph);

}  // namespace convd

#endif  // CONVD_CORE_ONNX_ONNX_MODEL_H_
