#include "core/data/limits.h"

#include <algorithm>

namespace convd {

DataLimits LimitsWithin(int64_t memory_bytes) {
  DataLimits limits;
  if (memory_bytes <= 0) return limits;
  // A file and what it unpacks to are gone, but for one, when a dataset's parts are put together.
  // Less than half for those, so that two copies of them fit; 512 MB hold CIFAR-10 (185 MB).
  limits.file_bytes = std::min(limits.file_bytes, memory_bytes / 4);
  limits.decompressed_bytes = std::min(limits.decompressed_bytes, memory_bytes / 4);
  limits.dataset_bytes = std::min(limits.dataset_bytes, memory_bytes / 8 * 3);
  // A name and what is kept beside it take about 500 bytes; a quarter again.
  limits.image_files = std::min(limits.image_files, memory_bytes / 2048);
  limits.decoding_bytes = std::min(limits.decoding_bytes, memory_bytes / 8);
  return limits;
}

}  // namespace convd
