#ifndef CONVD_CORE_DATA_ARRAY_MEMORY_H_
#define CONVD_CORE_DATA_ARRAY_MEMORY_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "core/storage/file_system.h"

namespace convd {

// Where arrays lie that are too large for the heap. Any thread may call.
class ArrayMemory {
 public:
  // What a thousand files' arrays may have on the heap, two a file, without much being in use.
  static constexpr int64_t kHeapBytes = int64_t{64} << 10;

  virtual ~ArrayMemory() = default;

  // RESOURCE_EXHAUSTED, naming the place, where there is no room; writing to the result never
  // fails for want of it. The result may outlive this.
  virtual absl::StatusOr<std::unique_ptr<ScratchMemory>> Allocate(int64_t bytes) = 0;
};

}  // namespace convd

#endif  // CONVD_CORE_DATA_ARRAY_MEMORY_H_
