#ifndef CONVD_CORE_DATA_NPY_H_
#define CONVD_CORE_DATA_NPY_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/data/limits.h"
#include "core/data/numbers.h"

namespace convd {

// NumPy's .npy format, versions 1.0, 2.0 and 3.0
// (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
struct NpyHeader {
  NumberType type;  // of one element
  bool fortran_order = false;
  std::vector<int64_t> shape;
  int64_t elements = 1;    // product of `shape`
  size_t data_offset = 0;  // of the first element in the file

  // "a float64 array of 10x28x28" or "a single int64 (an array of no dimensions)", for messages.
  std::string Text() const;
};

// Reads the header and checks that exactly the array's bytes follow it. The header is parsed, never
// evaluated; INVALID_ARGUMENT begins with `name` and says where it stops making sense. Arrays of
// Python objects (pickles), structures and strings are refused by name. Any thread may call.
absl::StatusOr<NpyHeader> ParseNpyHeader(std::string_view bytes, const std::string& name,
                                         const DataLimits& limits = {});

// Element `i`, in the order they lie in the file, as NumberAt (numbers.h) has it. REQUIRES: a
// header that ParseNpyHeader returned, of a type that NumberAt reads, and `data` pointing to its
// first element.
double NpyElement(const NpyHeader& header, const char* data, int64_t i);

// The header (version 1.0) of a little-endian array in C order: the elements follow it, and begin
// at a multiple of 64 bytes. `descr` is "|u1", "<f4", "<i4" and so on.
std::string NpyFileHeader(std::string_view descr, absl::Span<const int64_t> shape);

}  // namespace convd

#endif  // CONVD_CORE_DATA_NPY_H_
