#include "core/dnn/synthetic_images.h"

#include <memory>
#include <random>
#include <vector>

namespace convd {

ImageSet SyntheticImages(const Graph& graph, int64_t count) {
  struct Memory {
    std::vector<uint8_t> pixels;
    std::vector<int32_t> labels;
  };
  auto memory = std::make_shared<Memory>();
  std::mt19937 generator(1);
  memory->pixels.resize(count * graph.input().elements());
  for (uint8_t& pixel : memory->pixels) pixel = static_cast<uint8_t>(generator());
  memory->labels.resize(count);
  for (int32_t& label : memory->labels) {
    label = static_cast<int32_t>(generator() % graph.classes());
  }
  ImageSet images;
  images.count = count;
  images.height = graph.input().height;
  images.width = graph.input().width;
  images.channels = graph.input().channels;
  images.pixels = memory->pixels.data();
  images.labels = memory->labels;
  images.owner = memory;
  return images;
}

}  // namespace convd
