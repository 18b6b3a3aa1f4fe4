#include "core/dnn/quantization.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace convd {

InputScale InputScaleOf(float low, float high) {
  low = std::min(low, 0.0f);
  high = std::max(high, 0.0f);
  const double scale = (double{high} - low) / 255;
  // Nothing but zeros, or as good as: any scale does.
  if (scale < FLT_MIN) return {};
  const double zero = std::nearbyint(-low / scale);
  return {static_cast<float>(scale), static_cast<int32_t>(std::clamp(zero, 0.0, 255.0))};
}

bool HasWeights(const GraphLayer& layer) {
  return layer.kind == LayerKind::kConv2D || layer.kind == LayerKind::kDense;
}

// A name from a file, of which nothing is known.
static std::string Shown(const std::string& name) {
  constexpr size_t kMost = 64;
  return absl::CHexEscape(name.substr(0, kMost)) + (name.size() > kMost ? "..." : "");
}

absl::StatusOr<std::vector<InputScale>> InputScales(const Graph& graph,
                                                    const v1::Quantization& quantization) {
  const std::vector<GraphLayer>& layers = graph.layers();
  std::vector<InputScale> scales(layers.size());
  // In the network's order, so one walk finds what is missing, twice or unknown.
  int at = 0;
  for (size_t i = 0; i < layers.size(); ++i) {
    if (!HasWeights(layers[i])) continue;
    const std::string field = absl::StrCat("quantization.inputs[", at, "]");
    if (at == quantization.inputs_size()) {
      return absl::FailedPreconditionError(
          absl::StrCat(field, ": there is none; want the range of layer \"", layers[i].name, "\""));
    }
    const v1::InputRange& range = quantization.inputs(at++);
    if (range.layer() != layers[i].name) {
      return absl::FailedPreconditionError(
          absl::StrCat(field, ".layer: got \"", Shown(range.layer()), "\"; want \"", layers[i].name,
                       "\", the network's next with weights"));
    }
    if (!std::isfinite(range.low()) || !std::isfinite(range.high()) || range.low() > range.high()) {
      return absl::FailedPreconditionError(
          absl::StrCat(field, ": got a range from ", range.low(), " to ", range.high(),
                       " for layer \"", layers[i].name, "\"; want finite ones, in order"));
    }
    scales[i] = InputScaleOf(range.low(), range.high());
  }
  if (at < quantization.inputs_size()) {
    return absl::FailedPreconditionError(
        absl::StrCat("quantization.inputs: got ", quantization.inputs_size(), "; the network has ",
                     at, " layers with weights"));
  }
  return scales;
}

}  // namespace convd
