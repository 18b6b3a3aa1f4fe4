#ifndef CONVD_TESTS_CORE_NN_REFERENCE_FORWARD_H_
#define CONVD_TESTS_CORE_NN_REFERENCE_FORWARD_H_

#include <functional>
#include <vector>

#include "absl/types/span.h"
#include "core/nn/graph.h"

namespace convd {

// The forward pass written down as the layers' definitions read, in double, with no thought for
// speed: what the engine and the ONNX files are tested against. Images and activations are height x
// width x channels, parameters canonical (graph.h). Any thread may call.

// What training's dropout multiplies element e of layer l's input by (0, or 1 / (1 - rate)). Empty
// stands for inference: nothing is dropped.
using DropoutFactor = std::function<double(int layer, int64_t element)>;

// One layer on one image, its activation included. `kernel` and `bias` are empty where it has none.
std::vector<double> ReferenceLayer(const GraphLayer& layer, absl::Span<const double> kernel,
                                   absl::Span<const double> bias, absl::Span<const double> in);

// [0] is the scaled image, [l + 1] the output of layer l. `parameters` are all of the graph's;
// `pixels` one image's, before preprocessing.
std::vector<std::vector<double>> ReferenceActivations(const Graph& graph,
                                                      absl::Span<const double> parameters,
                                                      absl::Span<const double> pixels,
                                                      const DropoutFactor& dropout = {});

// One image's class probabilities at inference: softmax of the scores, whether or not the network
// ends in one.
std::vector<double> ReferenceProbabilities(const Graph& graph, absl::Span<const float> parameters,
                                           absl::Span<const double> pixels);

// Scores before the trailing softmax are wanted for the loss; this is -log softmax(scores)[label].
double ReferenceCrossEntropy(absl::Span<const double> scores, int label);

}  // namespace convd

#endif  // CONVD_TESTS_CORE_NN_REFERENCE_FORWARD_H_
