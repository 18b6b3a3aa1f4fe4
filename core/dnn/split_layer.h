#ifndef CONVD_CORE_DNN_SPLIT_LAYER_H_
#define CONVD_CORE_DNN_SPLIT_LAYER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "core/dnn/operation.h"
#include "core/dnn/own_convolution.h"
#include "core/nn/graph.h"

namespace convd {

// A layer whose call for a single image would keep a prediction waiting is several operations, each
// of a slice of its output channels, with cuts between them.

// `layer`, a convolution or dense layer in f32 or bf16, by slices of its output channels, in their
// order; itself where its calls are short enough. All slices but the last have equally many, a
// multiple of 16. One with groups is cut between groups, a slice having the input channels of its
// own; and where a single group is too long, that as a layer without groups. From the layer,
// `kernel` and constants alone, so the same on every machine.
std::vector<GraphLayer> SlicesOf(const GraphLayer& layer, ConvolutionKernel kernel, bool training);

// Of the longest call for an image of a layer with groups: so many FLOP take about as long.
double GroupedFlop(const GraphLayer& layer);

// `slices` in place of `layer`: one operation for each of SlicesOf(), for as many images. Forward
// they compute each output as the whole layer would; the gradient by the layer's input is the sum
// of the slices' that read it, in their order.
std::unique_ptr<Operation> NewSplitLayer(const GraphLayer& layer, int64_t images, bool training,
                                         std::vector<std::unique_ptr<Operation>> slices);

// Floats an image that a split layer takes in a workspace beside what its slices do, at most.
// `out_elements` are of the operation, after a pool.
int64_t SplitLayerFloats(const GraphLayer& layer, int64_t out_elements, bool training);

}  // namespace convd

#endif  // CONVD_CORE_DNN_SPLIT_LAYER_H_
