#include "bench/network_flop.h"

namespace convd {
namespace {

int64_t LayerFlop(const Graph& graph, const GraphLayer& layer) {
  if (layer.kernel < 0) return 0;
  // Each weight is used once a position of the output; a dense layer has one.
  const int64_t positions = int64_t{layer.out.height} * layer.out.width;
  return 2 * positions * graph.parameters()[layer.kernel].elements;
}

}  // namespace

int64_t InferenceFlop(const Graph& graph) {
  int64_t flop = 0;
  for (const GraphLayer& layer : graph.layers()) flop += LayerFlop(graph, layer);
  return flop;
}

int64_t TrainingFlop(const Graph& graph) {
  int64_t flop = 0;
  bool first = true;
  for (const GraphLayer& layer : graph.layers()) {
    if (layer.kernel < 0) continue;
    flop += (first ? 2 : 3) * LayerFlop(graph, layer);
    first = false;
  }
  return flop;
}

}  // namespace convd
