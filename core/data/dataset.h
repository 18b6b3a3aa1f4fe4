#ifndef CONVD_CORE_DATA_DATASET_H_
#define CONVD_CORE_DATA_DATASET_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace convd {

enum class ElementType { kUint8 = 1, kFloat32 = 2 };

// Where one image's pixels lie: height x width x channels elements, channels innermost. A plain
// value.
struct ImagePixels {
  const void* data = nullptr;
  ElementType type = ElementType::kUint8;
};

// Labelled images in memory or mapped from a file: count x height x width x channels, channels
// innermost (NHWC). Does not own what it points to; `owner` keeps it alive. Immutable; any thread
// may read. A plain value: copy it.
struct ImageSet {
  int64_t count = 0;
  int height = 0;
  int width = 0;
  int channels = 0;
  ElementType type = ElementType::kUint8;
  const void* pixels = nullptr;      // count * height * width * channels elements of `type`
  absl::Span<const int32_t> labels;  // count, each in [0, classes); empty where unlabelled
  std::shared_ptr<const void> owner;

  int64_t image_elements() const { return int64_t{height} * width * channels; }
  int64_t image_bytes() const { return image_elements() * (type == ElementType::kUint8 ? 1 : 4); }
  const char* image(int64_t i) const {
    return static_cast<const char*>(pixels) + i * image_bytes();
  }

  // Samples [begin, begin + n). REQUIRES: 0 <= begin, 0 <= n, begin + n <= count.
  ImageSet Slice(int64_t begin, int64_t n) const {
    ImageSet s = *this;
    s.count = n;
    s.pixels = image(begin);
    if (!labels.empty()) s.labels = labels.subspan(begin, n);
    return s;
  }
};

// A registered dataset: named splits over the same classes and the same image shape.
struct DatasetSplit {
  std::string name;  // "train", "test", ...
  ImageSet images;
};

struct Dataset {
  std::vector<std::string> labels;  // one a class
  std::vector<DatasetSplit> splits;

  const DatasetSplit* Find(const std::string& split) const {
    for (const DatasetSplit& s : splits)
      if (s.name == split) return &s;
    return nullptr;
  }
  // "train", else the first. REQUIRES: there is one.
  const DatasetSplit& TrainingSplit() const {
    const DatasetSplit* const train = Find("train");
    return train != nullptr ? *train : splits[0];
  }
};

}  // namespace convd

#endif  // CONVD_CORE_DATA_DATASET_H_
