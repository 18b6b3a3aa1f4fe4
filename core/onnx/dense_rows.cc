#include "core/onnx/dense_rows.h"

#include <cstring>

namespace convd {
namespace {

template <typename Row>
void ForEachRow(const Shape& image, Row row) {
  int64_t file = 0;
  for (int64_t c = 0; c < image.channels; ++c) {
    for (int64_t y = 0; y < image.height; ++y) {
      for (int64_t x = 0; x < image.width; ++x) {
        row(file++, (y * image.width + x) * image.channels + c);
      }
    }
  }
}

}  // namespace

Shape FlattenedImage(const Graph& graph, int layer) {
  Shape image = graph.layers()[layer].in;
  for (int l = layer - 1; l >= 0; --l) {
    const GraphLayer& before = graph.layers()[l];
    if (before.kind == LayerKind::kDense) break;
    // The first of several flattens is the one that saw the image.
    if (before.kind == LayerKind::kFlatten) image = before.in;
  }
  return image;
}

void RowsToFile(const Shape& image, int64_t units, const float* canonical, float* file) {
  ForEachRow(image, [=](int64_t in_file, int64_t row) {
    std::memcpy(file + in_file * units, canonical + row * units, units * sizeof(float));
  });
}

void RowsFromFile(const Shape& image, int64_t units, const float* file, float* canonical) {
  ForEachRow(image, [=](int64_t in_file, int64_t row) {
    std::memcpy(canonical + row * units, file + in_file * units, units * sizeof(float));
  });
}

}  // namespace convd
