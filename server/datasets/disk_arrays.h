#ifndef CONVD_SERVER_DATASETS_DISK_ARRAYS_H_
#define CONVD_SERVER_DATASETS_DISK_ARRAYS_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "core/data/array_memory.h"
#include "core/storage/file_system.h"
#include "server/datasets/registry.h"

namespace convd {

// Arrays in files without names in a folder of the disk's: where memory is short the kernel writes
// them back there, and a dataset need not fit into it. Any thread may call; `fs` outlives it.
class DiskArrays final : public ArrayMemory {
 public:
  // `take_room` is asked before each.
  DiskArrays(FileSystem& fs, std::string folder, TakeRoom take_room)
      : fs_(fs), folder_(std::move(folder)), take_room_(std::move(take_room)) {}

  absl::StatusOr<std::unique_ptr<ScratchMemory>> Allocate(int64_t bytes) override {
    if (absl::Status room = take_room_(bytes); !room.ok()) return room;
    return fs_.MapScratch(folder_, bytes);
  }

 private:
  FileSystem& fs_;
  const std::string folder_;
  const TakeRoom take_room_;
};

}  // namespace convd

#endif  // CONVD_SERVER_DATASETS_DISK_ARRAYS_H_
