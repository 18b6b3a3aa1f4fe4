#ifndef CONVD_SERVER_START_RESERVE_H_
#define CONVD_SERVER_START_RESERVE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "core/storage/file_system.h"

namespace convd {

// A file in the state folder that does nothing but take room, so that a server starts on a disk
// that others have filled: a start copies the log that the last process left, and writes down what
// became of its jobs. One server a folder.
inline constexpr int64_t kStartReserveBytes = int64_t{8} << 20;

// Removes it where the disk has less than that free.
absl::Status FreeStartReserve(FileSystem& fs, const std::string& state_dir);
// Makes it where it isn't there whole.
absl::Status FillStartReserve(FileSystem& fs, const std::string& state_dir);

}  // namespace convd

#endif  // CONVD_SERVER_START_RESERVE_H_
