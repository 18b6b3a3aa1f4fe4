#ifndef CONVD_CORE_DATA_IDX_H_
#define CONVD_CORE_DATA_IDX_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/data/dataset.h"
#include "core/data/heap_array.h"
#include "core/data/limits.h"

namespace convd {

// The IDX format of MNIST's files: 00 00, element type, rank, one big-endian 32-bit size a
// dimension, then the elements (http://yann.lecun.com/exdb/mnist). Plain or gzip, as the first
// bytes say. The file must end where its header says. Errors are INVALID_ARGUMENT
// and begin with `name`. Results own their data. Any thread may
// call.

// Whether the bytes, which aren't gzip, are an IDX header and exactly the elements that it says.
bool IsWholeIdx(std::string_view bytes);

// Unlabelled images of rank 3 (count, height, width), 4 (channels last), or 2 (count, and the
// pixels of a square). uint8, int8, int16, int32, float32 or float64 become pixels as pixels.h has
// it.
absl::StatusOr<ImageSet> ReadIdxImages(std::string_view bytes, const std::string& name,
                                       const DataLimits& limits = {});

// Labels: whole numbers of any of these types, rank 1 (or count x 1), each in [0, limits.classes).
absl::StatusOr<HeapArray<int32_t>> ReadIdxLabels(std::string_view bytes, const std::string& name,
                                                 const DataLimits& limits = {});

// Both, which must have as many.
absl::StatusOr<ImageSet> ReadIdx(std::string_view images, const std::string& images_name,
                                 std::string_view labels, const std::string& labels_name,
                                 const DataLimits& limits = {});

}  // namespace convd

#endif  // CONVD_CORE_DATA_IDX_H_
