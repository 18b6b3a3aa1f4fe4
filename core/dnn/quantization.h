#ifndef CONVD_CORE_DNN_QUANTIZATION_H_
#define CONVD_CORE_DNN_QUANTIZATION_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "convd/v1/model.pb.h"
#include "core/nn/graph.h"

namespace convd {

// How a layer's input becomes bytes: a value is (byte - zero) * scale, and 0 is exact.
struct InputScale {
  float scale = 1;
  int32_t zero = 0;  // 0 to 255
};

// Of values from low to high (finite), and 0. Any thread may call.
InputScale InputScaleOf(float low, float high);

// Whether a layer has weights, and so an input that a calibration gives a range of.
bool HasWeights(const GraphLayer& layer);

// Of each of the graph's layers with weights, by its index among all layers. FAILED_PRECONDITION
// names the layer that `quantization` lacks, has twice or doesn't know, or whose range is none.
// Any thread may call.
absl::StatusOr<std::vector<InputScale>> InputScales(const Graph& graph,
                                                    const v1::Quantization& quantization);

}  // namespace convd

#endif  // CONVD_CORE_DNN_QUANTIZATION_H_
