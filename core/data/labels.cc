#include "core/data/labels.h"

#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"

namespace convd {

absl::StatusOr<HeapArray<int32_t>> ConvertLabels(const std::string& name, const NumberType& type,
                                                 const char* data, int64_t count,
                                                 const DataLimits& limits) {
  if (!IsReadNumber(type)) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": has labels of type ", type.Text(),
                     "; want bool, integers, or whole numbers as float16, float32 or float64"));
  }
  CONVD_ASSIGN_OR_RETURN(HeapArray<int32_t> labels,
                         HeapArray<int32_t>::Allocate(count, name, limits.arrays));
  for (int64_t i = 0; i < count; ++i) {
    const double value = NumberAt(type, data + i * type.bytes);
    // Not a number is none of it.
    if (!(value >= 0 && value < static_cast<double>(limits.classes)) ||
        value != std::floor(value)) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": the label of sample ", i, " is ", NumberText(value),
                       "; want a whole number of 0 to ", limits.classes - 1));
    }
    labels[i] = static_cast<int32_t>(value);
  }
  return labels;
}

}  // namespace convd
