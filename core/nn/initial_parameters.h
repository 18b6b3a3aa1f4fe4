#ifndef CONVD_CORE_NN_INITIAL_PARAMETERS_H_
#define CONVD_CORE_NN_INITIAL_PARAMETERS_H_

#include <cstdint>
#include <vector>

#include "core/nn/graph.h"

namespace convd {

// What a training with `seed` begins from, canonical: kernels are Glorot uniform, each from its own
// stream of random numbers (core/random/random.h), biases zero. Any thread may call.
std::vector<float> InitialParameters(const Graph& graph, uint64_t seed);

}  // namespace convd

#endif  // CONVD_CORE_NN_INITIAL_PARAMETERS_H_
