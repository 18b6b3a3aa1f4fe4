#ifndef CONVD_CORE_DATA_NPZ_H_
#define CONVD_CORE_DATA_NPZ_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/dataset.h"
#include "core/data/limits.h"

namespace convd {

// The splits that an .npz file names: none where its arrays are X and Y; where they are called as
// in Keras' mnist.npz, x_train, y_train, x_test and y_test, "train" and "test", those of them that
// are there. Other pairs, say x_val and y_val, make splits after these. INVALID_ARGUMENT where a
// name can't be a split's. Any thread may call.
absl::StatusOr<std::vector<std::string>> NpzSplits(std::string_view bytes, const std::string& name,
                                                   const DataLimits& limits = {});

// Labelled images from an .npz file's arrays X and Y (or x and y), or of the split among NpzSplits,
// stored or deflated, with or without ZIP64, in either byte order, in C or Fortran order. `split`
// matters to a file that names several.
//
// X: bool, integers of 0 to 255, float16, float32 or float64, which become uint8 and float32 pixels
// as pixels.h has it. Shapes:
//   count x pixels                      one channel, square, where `pixels` is a square number
//   count x height x width              one channel
//   count x height x width x channels   1 to 4 channels
//   count x channels x height x width   1 or 3 channels, where the last dimension can't be channels
// Y: count (or count x 1) labels of any integer type, bool, or whole numbers as float16, float32 or
// float64, each in [0, limits.classes).
//
// NOT_FOUND, with what is inside, where an array is missing; INVALID_ARGUMENT names the file, the
// array and what would be right. The result owns its data. Any
// thread may call.
absl::StatusOr<ImageSet> ReadNpz(std::string_view bytes, const std::string& name,
                                 const DataLimits& limits = {}, std::string_view split = "");

}  // namespace convd

#endif  // CONVD_CORE_DATA_NPZ_H_
