#ifndef CONVD_CORE_DATA_IMAGE_STORAGE_H_
#define CONVD_CORE_DATA_IMAGE_STORAGE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/data/dataset.h"
#include "core/data/heap_array.h"
#include "core/data/limits.h"

namespace convd {

// What an ImageSet made in memory points to.
struct ImageStorage {
  HeapArray<char> pixels;
  int64_t pixels_offset = 0;  // where the first pixel lies; a multiple of the element's size
  HeapArray<int32_t> labels;  // empty, or one an image
};

// `shape` with its pixels and labels, which it owns from now on. REQUIRES: the storage holds them.
ImageSet OwnImages(ImageSet shape, ImageStorage storage);

// The images of all `parts`, one after another. INVALID_ARGUMENT names the first two (`names`, one
// a part) that differ in shape or element type. One part is returned as it is; more are copied.
absl::StatusOr<ImageSet> ConcatenateImages(const std::vector<ImageSet>& parts,
                                           const std::vector<std::string>& names,
                                           const DataLimits& limits);

// "28x28x1 uint8", for messages.
std::string ShapeText(const ImageSet& images);

// OK where one image of this shape and `count` of them are within the limits; the error begins with
// `name`. 0 images, and images without pixels, are INVALID_ARGUMENT. No product overflows.
absl::Status CheckImageShape(const std::string& name, int64_t count, int64_t height, int64_t width,
                             int64_t channels, const DataLimits& limits);

// INVALID_ARGUMENT names file, sample and label where a label isn't in [0, classes).
absl::Status CheckLabels(const std::string& name, absl::Span<const int32_t> labels,
                         int64_t classes);

}  // namespace convd

#endif  // CONVD_CORE_DATA_IMAGE_STORAGE_H_
