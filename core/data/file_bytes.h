#ifndef CONVD_CORE_DATA_FILE_BYTES_H_
#define CONVD_CORE_DATA_FILE_BYTES_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/data/heap_array.h"
#include "core/data/limits.h"
#include "core/storage/file_system.h"

namespace convd {

// The bytes of a whole file. Any thread may read.
class FileBytes {
 public:
  // Mapped: for files that nobody else changes (MappedFile says why). Errors begin with `name`
  // where the file has more than limits.file_bytes, else with the path.
  static absl::StatusOr<FileBytes> Map(FileSystem& fs, const std::string& path,
                                       const std::string& name, const DataLimits& limits);
  // A copy, which nobody can shorten, where limits.arrays has its place.
  static absl::StatusOr<FileBytes> Copy(FileSystem& fs, const std::string& path,
                                        const std::string& name, const DataLimits& limits);

  std::string_view view() const {
    return mapped_ != nullptr ? mapped_->data()
                              : std::string_view(copy_.data(), static_cast<size_t>(copy_.size()));
  }

 private:
  FileBytes() = default;

  std::unique_ptr<MappedFile> mapped_;
  HeapArray<char> copy_;
};

// A whole file on the heap. INVALID_ARGUMENT begins with `name` where it has more than `limit`
// bytes; other errors begin with the path.
absl::StatusOr<std::string> ReadFileText(FileSystem& fs, const std::string& path,
                                         const std::string& name, int64_t limit);

}  // namespace convd

#endif  // CONVD_CORE_DATA_FILE_BYTES_H_
