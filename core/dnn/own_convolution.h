#ifndef CONVD_CORE_DNN_OWN_CONVOLUTION_H_
#define CONVD_CORE_DNN_OWN_CONVOLUTION_H_

#include <cstdint>
#include <memory>

#include "core/dnn/kernels.h"
#include "core/dnn/operation.h"
#include "core/nn/graph.h"

namespace convd {

// What is computed with a convolution or dense layer, on its outputs while they are in registers.
struct FusedLayers {
  bool relu = false;
  const GraphLayer* pool = nullptr;
  size_t layers = 1;  // of the graph that this is in all, from the convolution's on
};

// What is fused into layer `layer` (an index), a convolution or dense layer: the ReLU that it has
// or that follows it, and where `pools` what the engine's own kernels take after a convolution, a
// max pool of 2x2, stride 2, without padding.
FusedLayers Fuse(const Graph& graph, size_t layer, bool pools);

// Whether, and as what, layer `index` runs on the engine's own kernels, if it is a convolution.
// From the network alone, so the same on every machine.
enum class ConvolutionKernel { kOneDnn, kWinograd, kNarrow };
// `first`: nothing before it has parameters.
ConvolutionKernel ChooseConvolutionKernel(const Graph& graph, size_t index, bool first);

// What such an operation takes of a plan, in floats.
struct OwnConvolutionFloats {
  int64_t packed = 0, derived = 0, scratch = 0;
  int64_t image_scratch = 0;  // more scratch, an image
};
// Of one that needs a gradient by its input, too, if Winograd's. `precision` is f32 or bf16.
OwnConvolutionFloats FloatsOf(const GraphLayer& layer, ConvolutionKernel kernel, bool training,
                              v1::Precision precision);

WinogradShape WinogradShapeOf(const GraphLayer& layer, int64_t images, bool relu, bool pool);

// REQUIRES: `kernel` is what ChooseConvolutionKernel says, and not oneDNN's; options.precision is
// f32, or bf16 where there are kernels for it. The narrow kernel computes in f32 either way.
std::unique_ptr<Operation> NewOwnConvolution(const GraphLayer& layer, ConvolutionKernel kernel,
                                             const PlanOptions& options, const FusedLayers& fused);

}  // namespace convd

#endif  // CONVD_CORE_DNN_OWN_CONVOLUTION_H_
