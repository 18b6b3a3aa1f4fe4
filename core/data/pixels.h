#ifndef CONVD_CORE_DATA_PIXELS_H_
#define CONVD_CORE_DATA_PIXELS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "core/data/dataset.h"
#include "core/data/heap_array.h"
#include "core/data/limits.h"
#include "core/data/numbers.h"

namespace convd {

// How an array's dimensions are an ImageSet's: sizes, and distances in elements, of count, height,
// width and channels.
struct PixelLayout {
  int64_t size[4];
  int64_t stride[4];

  // Whether the elements lie in NHWC order already.
  bool contiguous() const;
  int64_t elements() const { return size[0] * size[1] * size[2] * size[3]; }
};

// The side of a square of so many pixels; 0 where they aren't one's. REQUIRES: 0 <= pixels.
int64_t SquareSide(int64_t pixels);

// What pixels of a type become, whatever file they come from:
//   integers      uint8, each of which must be 0 to 255
//   bool          uint8: black (0) and white (255)
//   floats        float32, as they are (rounded from float64), each of which must be finite
// So the type alone says what an image is made of, and all files of a dataset agree.
// INVALID_ARGUMENT where others begin with `name`, and say what would be right.
absl::StatusOr<ElementType> PixelType(const std::string& name, const NumberType& type);

// The numbers at `data` as pixels by that rule, in NHWC order. INVALID_ARGUMENT begins with `name`
// and says which image, row, column and channel can't be one, or before anything is allocated that
// there is more than limits.dataset_bytes. REQUIRES: the layout's sizes have passed
// CheckImageShape, and `data` holds all elements. Any thread may call.
absl::StatusOr<HeapArray<char>> ConvertPixels(const std::string& name, const NumberType& type,
                                              const char* data, const PixelLayout& layout,
                                              const DataLimits& limits);

}  // namespace convd

#endif  // CONVD_CORE_DATA_PIXELS_H_
