#ifndef CONVD_CORE_DNN_SYNTHETIC_IMAGES_H_
#define CONVD_CORE_DNN_SYNTHETIC_IMAGES_H_

#include <cstdint>

#include "core/data/dataset.h"
#include "core/nn/graph.h"

namespace convd {

// Labelled uint8 images of the graph's input shape to measure with, random but the same on every
// run: no kernel's time depends on what they show. The result owns them. Throws std::bad_alloc. Any
// thread may call.
ImageSet SyntheticImages(const Graph& graph, int64_t count);

}  // namespace convd

#endif  // CONVD_CORE_DNN_SYNTHETIC_IMAGES_H_
