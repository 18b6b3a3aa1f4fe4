#ifndef CONVD_CORE_DATA_LABELS_H_
#define CONVD_CORE_DATA_LABELS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "core/data/heap_array.h"
#include "core/data/limits.h"
#include "core/data/numbers.h"

namespace convd {

// The `count` numbers at `data`, of any type that NumberAt reads, as labels: whole numbers in
// [0, limits.classes). INVALID_ARGUMENT names the first sample that has another, or the type, after
// `name`. REQUIRES: `data` holds them, 0 <= count. Any thread may call.
absl::StatusOr<HeapArray<int32_t>> ConvertLabels(const std::string& name, const NumberType& type,
                                                 const char* data, int64_t count,
                                                 const DataLimits& limits);

}  // namespace convd

#endif  // CONVD_CORE_DATA_LABELS_H_
