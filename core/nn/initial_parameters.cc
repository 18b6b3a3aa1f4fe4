#include "core/nn/initial_parameters.h"

#include "core/random/random.h"

namespace convd {

std::vector<float> InitialParameters(const Graph& graph, uint64_t seed) {
  std::vector<float> initial(graph.parameter_count());
  for (size_t i = 0; i < graph.parameters().size(); ++i) {
    const Parameter& p = graph.parameters()[i];
    if (p.fan_in == 0) continue;  // a bias
    GlorotUniform(seed, static_cast<uint32_t>(i), p.fan_in, p.fan_out, p.elements,
                  initial.data() + p.offset);
  }
  return initial;
}

}  // namespace convd
