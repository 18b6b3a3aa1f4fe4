#ifndef CONVD_TESTS_CORE_NN_RANDOM_PARAMETERS_H_
#define CONVD_TESTS_CORE_NN_RANDOM_PARAMETERS_H_

#include <cstdint>
#include <vector>

#include "core/nn/graph.h"

namespace convd {

// Parameters as a trained network might have them, the same for a seed on any machine: kernels
// Glorot uniform, biases uniform in [-0.1, 0.1] so that a forgotten bias shows. Not the trainer's
// initial values.
std::vector<float> RandomParameters(const Graph& graph, uint32_t seed);

}  // namespace convd

#endif  // CONVD_TESTS_CORE_NN_RANDOM_PARAMETERS_H_
