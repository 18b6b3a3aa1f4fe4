#include "core/nn/graph.h"
#include "core/nn/network_text.h"
#include "core/nn/summary.h"
#include "tests/fuzz/promises.h"

namespace convd {
namespace {

void MakeGraph(std::string_view text) {
  const auto network = ParseNetwork(text, kFuzzedFile);
  if (!network.ok()) return PromiseRefusal(network.status());
  const auto graph = Graph::Create(*network);
  if (!graph.ok()) {
    Promise(absl::IsInvalidArgument(graph.status()), "a network that can't be is refused");
    return;
  }
  Promise(static_cast<int>(graph->layers().size()) == network->layers_size(),
          "layers are all there");
  Shape shape = graph->input();
  for (const GraphLayer& layer : graph->layers()) {
    Promise(layer.in == shape, "a layer takes what the one before it gives");
    Promise(layer.out.height > 0 && layer.out.width > 0 && layer.out.channels > 0,
            "a layer gives something");
    const Window& w = layer.window;
    Promise(w.pad_top >= 0 && w.pad_left >= 0 && w.pad_bottom >= 0 && w.pad_right >= 0,
            "padding isn't negative");
    shape = layer.out;
  }
  Promise(shape == Shape{1, 1, graph->classes()}, "a network ends in its classes");
  int64_t offset = 0;
  for (const Parameter& parameter : graph->parameters()) {
    int64_t elements = 1;
    for (const int64_t size : parameter.shape) elements *= size;
    Promise(parameter.elements > 0 && parameter.elements == elements && parameter.offset == offset,
            "parameters lie one after another");
    offset += elements;
  }
  Promise(offset == graph->parameter_count(), "parameters are counted");
  const auto again = Graph::Create(graph->network());
  Promise(again.ok() && again->parameter_count() == offset &&
              again->network().SerializeAsString() == graph->network().SerializeAsString(),
          "a resolved network stays as it is");
  Promise(!Summary(*graph).empty(), "a network has a summary");
}

}  // namespace
}  // namespace convd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  convd::MakeGraph(convd::Bytes(data, size));
  return 0;
}
