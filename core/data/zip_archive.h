#ifndef CONVD_CORE_DATA_ZIP_ARCHIVE_H_
#define CONVD_CORE_DATA_ZIP_ARCHIVE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/heap_array.h"

namespace convd {

// A zip archive in memory. Members are stored or deflated, not encrypted. One thread at a time.
class ZipArchive {
 public:
  ~ZipArchive();
  ZipArchive(ZipArchive&&) noexcept;
  ZipArchive& operator=(ZipArchive&&) = delete;

  struct Entry {
    std::string other;  // "a symbolic link", "encrypted": what keeps it from being a plain file
    int64_t size = 0;   // what it says that it unpacks to
  };

  // INVALID_ARGUMENT begins with `name`. `bytes` outlives the archive.
  static absl::StatusOr<ZipArchive> Open(std::string_view bytes, const std::string& name,
                                         int64_t max_members = 10'000);

  // In the archive's order; names as they are, never to be used as paths.
  const std::vector<std::string>& members() const { return members_; }

  // What the archive says of member `i`. INVALID_ARGUMENT where it says nothing.
  absl::StatusOr<Entry> Examine(size_t i);

  // The bytes of member `i`, their CRC-32 checked. INVALID_ARGUMENT, before anything is
  // allocated, where it says that it unpacks to more than `limit` bytes, and where it unpacks to
  // something else than it says, is encrypted, or compressed in another way.
  absl::StatusOr<HeapArray<char>> Read(size_t i, int64_t limit, ArrayMemory* arrays = nullptr);

 private:
  struct Handle;
  ZipArchive(std::unique_ptr<Handle> handle, std::string name);

  std::string Shown(size_t i) const;  // with the archive's name, for messages

  std::unique_ptr<Handle> handle_;
  std::string name_;
  std::vector<std::string> members_;
};

}  // namespace convd

#endif  // CONVD_CORE_DATA_ZIP_ARCHIVE_H_
