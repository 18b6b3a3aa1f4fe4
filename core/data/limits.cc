#include "core/data/limits.h"

#include <algorithm>

namespace convd {

DataLimits LimitsOnDisk(int64_t memory_bytes) {
  constexpr int64_t kMost = int64_t{128} << 30;
  DataLimits limits;
  limits.file_bytes = kMost;
  limits.upload_bytes = kMost;
  limits.decompressed_bytes = kMost;
  limits.dataset_bytes = kMost;
  limits.array_elements = kMost;
  if (memory_bytes > 0) limits.decoding_bytes = std::min(limits.decoding_bytes, memory_bytes / 8);
  // A name and what is kept beside it take about 500 bytes of the heap.
  if (memory_bytes > 0) limits.image_files = std::min(limits.image_files, memory_bytes / 2048);
  return limits;
}

}  // namespace convd
