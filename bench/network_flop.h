#ifndef CONVD_BENCH_NETWORK_FLOP_H_
#define CONVD_BENCH_NETWORK_FLOP_H_

#include <cstdint>

#include "core/nn/graph.h"

namespace convd {

// Floating point operations that one image needs, an FMA counted as two: those of convolutions
// (their taps on padding included) and dense layers. Pools, activations and the optimizer count as
// nothing, so a share of the peak reckoned from these understates what the cores do.
int64_t InferenceFlop(const Graph& graph);

// Forward; the gradient by the weights; and the gradient by the input, which the network's first
// layer with weights needs none of.
int64_t TrainingFlop(const Graph& graph);

}  // namespace convd

#endif  // CONVD_BENCH_NETWORK_FLOP_H_
