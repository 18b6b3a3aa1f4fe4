#ifndef CONVD_CORE_DATA_TAR_ARCHIVE_H_
#define CONVD_CORE_DATA_TAR_ARCHIVE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/heap_array.h"

namespace convd {

// An uncompressed tar archive in memory: ustar, GNU's or pax. One thread at a time.
class TarArchive {
 public:
  enum class Kind { kFile, kFolder, kOther };
  struct Member {
    std::string path;  // as it is, never to be used as a path on disk
    Kind kind = Kind::kOther;
    std::string what;  // "a symbolic link", for messages; empty for files and folders
    int64_t size = 0;
    int64_t header = 0;  // where its first header lies
  };

  // INVALID_ARGUMENT begins with `name`: damaged, cut short (the end that is a block of zeros is
  // missing), followed by something, or of more than `max_members`. `bytes` outlives the
  // archive.
  static absl::StatusOr<TarArchive> Open(std::string_view bytes, const std::string& name,
                                         int64_t max_members);

  // In the archive's order. A file's size is no more than the archive's.
  const std::vector<Member>& members() const { return members_; }

  // The bytes of member `i`. INVALID_ARGUMENT where it is damaged. REQUIRES: a file.
  absl::StatusOr<HeapArray<char>> Read(size_t i) const;

 private:
  TarArchive(std::string_view bytes, std::string name) : bytes_(bytes), name_(std::move(name)) {}

  std::string_view bytes_;
  std::string name_;
  std::vector<Member> members_;
};

}  // namespace convd

#endif  // CONVD_CORE_DATA_TAR_ARCHIVE_H_
