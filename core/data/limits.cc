#include "core/data/limits.h"

namespace convd {

DataLimits LimitsOnDisk(ArrayMemory* arrays) {
  constexpr int64_t kMost = int64_t{128} << 30;
  DataLimits limits;
  limits.file_bytes = kMost;
  limits.upload_bytes = kMost;
  limits.decompressed_bytes = kMost;
  limits.dataset_bytes = kMost;
  limits.array_elements = kMost;
  limits.arrays = arrays;
  return limits;
}

}  // namespace convd
