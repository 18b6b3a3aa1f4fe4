#ifndef CONVD_CORE_DATA_NPZ_H_
#define CONVD_CORE_DATA_NPZ_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/data/dataset.h"
#include "core/data/limits.h"

namespace convd {

// Labelled images from an .npz file's arrays X and Y (or x and y), stored or deflated, in either
// byte order, in C or Fortran order.
//
// X: uint8, float32, or float64 (rounded to float32); every value finite. Shapes:
//   count x pixels                      one channel, square, where `pixels` is a square number
//   count x height x width              one channel
//   count x height x width x channels   1 to 4 channels
//   count x channels x height x width   1 or 3 channels, where the last dimension can't be channels
// Y: count (or count x 1) labels of any integer type, bool, or whole numbers as float32 or float64,
// each in [0, limits.classes).
//
// NOT_FOUND, with what is inside, where an array is missing; INVALID_ARGUMENT names the file, the
// array and what would be right; RESOURCE_EXHAUSTED past a limit. The result owns its data. Any
// thread may call.
absl::StatusOr<ImageSet> ReadNpz(std::string_view bytes, const std::string& name,
                                 const DataLimits& limits = {});

}  // namespace convd

#endif  // CONVD_CORE_DATA_NPZ_H_
