#ifndef CONVD_CORE_DNN_INT8_LAYER_H_
#define CONVD_CORE_DNN_INT8_LAYER_H_

#include <cstdint>
#include <memory>

#include "core/dnn/operation.h"
#include "core/dnn/own_convolution.h"
#include "core/dnn/quantization.h"
#include "core/nn/graph.h"

namespace convd {

// Whether a layer is multiplied in bytes in an int8 plan; what isn't is computed in f32. From the
// layer alone, so the same on every machine.
bool MultipliesInt8(const GraphLayer& layer);

// What a layer with weights is to be computed in by a plan of `precision`. `first`: nothing before
// it has weights. In bf16 a first layer's few channels leave nothing to win, and pixels something
// to lose; oneDNN may have no good kernel for others (NewConvolution).
v1::Precision LayerPrecision(const GraphLayer& layer, v1::Precision precision, bool first);

// What such a layer takes of a plan: floats of its packed weights, and bytes of scratch an image.
int64_t Int8PackedFloats(const GraphLayer& layer);
int64_t Int8ScratchBytes(const GraphLayer& layer);

// A convolution or dense layer for inference, its input scaled by `input`. REQUIRES:
// MultipliesInt8(layer), and ActiveInt8Kernels() isn't null.
std::unique_ptr<Operation> NewInt8Layer(const GraphLayer& layer, int64_t images,
                                        const FusedLayers& fused, const InputScale& input);

}  // namespace convd

#endif  // CONVD_CORE_DNN_INT8_LAYER_H_
