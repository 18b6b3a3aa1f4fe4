#ifndef CONVD_CORE_ONNX_DENSE_ROWS_H_
#define CONVD_CORE_ONNX_DENSE_ROWS_H_

#include <cstdint>

#include "core/nn/graph.h"

namespace convd {

// A canonical dense kernel takes its inputs in height, width, channel order, but ONNX flattens
// channels x height x width. Files carry the rows in ONNX's order, so that no tool needs a
// Transpose at each image for what can be done once to the weights.

// The image that a flatten layer made dense layer `layer`'s inputs of; 1 x 1 x inputs where there
// was none. REQUIRES: `layer` indexes a dense layer.
Shape FlattenedImage(const Graph& graph, int layer);

// Row (c * height + y) * width + x of `file` is row (y * width + x) * channels + c of `canonical`.
// Each row has `units` elements.
void RowsToFile(const Shape& image, int64_t units, const float* canonical, float* file);
void RowsFromFile(const Shape& image, int64_t units, const float* file, float* canonical);

}  // namespace convd

#endif  // CONVD_CORE_ONNX_DENSE_ROWS_H_
