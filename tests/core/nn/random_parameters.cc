#include "tests/core/nn/random_parameters.h"

#include <cmath>
#include <random>

namespace convd {

std::vector<float> RandomParameters(const Graph& graph, uint32_t seed) {
  std::mt19937 generator(seed);
  std::vector<float> parameters;
  for (const Parameter& parameter : graph.parameters()) {
    const double limit =
        parameter.fan_in > 0 ? std::sqrt(6.0 / (parameter.fan_in + parameter.fan_out)) : 0.1;
    for (int64_t i = 0; i < parameter.elements; ++i) {
      // Not std::uniform_real_distribution, whose numbers the standard leaves open.
      const double unit = generator() / 4294967296.0;
      parameters.push_back(static_cast<float>((2 * unit - 1) * limit));
    }
  }
  return parameters;
}

}  // namespace convd
