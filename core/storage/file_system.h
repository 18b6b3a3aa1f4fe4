#ifndef CONVD_CORE_STORAGE_FILE_SYSTEM_H_
#define CONVD_CORE_STORAGE_FILE_SYSTEM_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace convd {

// A file being written. Nothing is promised to be on disk before Sync() has returned OK.
// One thread at a time.
class WritableFile {
 public:
  virtual ~WritableFile() = default;  // closes, without Sync
  virtual absl::Status Append(std::string_view data) = 0;
  virtual absl::Status Sync() = 0;
  virtual absl::Status Close() = 0;
};

// Bytes of a whole file, mapped read-only; valid while it lives. Any thread may read. For files
// that nobody else shortens meanwhile: a read past the end of one that was ends the process
// (SIGBUS).
class MappedFile {
 public:
  virtual ~MappedFile() = default;
  virtual std::string_view data() const = 0;
};

// Memory to write to, unset at first. Page-aligned.
class ScratchMemory {
 public:
  virtual ~ScratchMemory() = default;
  virtual char* data() = 0;
};

// What lies at a path itself: of a symbolic link, not of what it leads to.
struct PathInfo {
  enum class Kind { kFile, kFolder, kOther };  // kOther: a link, a device, a socket, a FIFO
  Kind kind = Kind::kOther;
  int64_t bytes = 0;  // of a file
};

// By which a change of a file's bytes, or of a folder's entries, shows without reading them. A
// plain value.
struct FileStamp {
  int64_t size = 0;
  uint64_t device = 0;
  uint64_t inode = 0;
  absl::Time modified;
  absl::Time changed;        // its times, owner or name, too; nobody sets this one back
  uint32_t permissions = 0;  // as chmod has them, such as 0640

  // False while another change might leave the stamp as it is: the times of some disks are as
  // coarse as two seconds. `now` is the wall clock's, from before the stamp was taken.
  bool ShowsTheNextChange(absl::Time now) const {
    return std::max(modified, changed) < now - absl::Seconds(2);
  }
  friend bool operator==(const FileStamp& a, const FileStamp& b) = default;
};

// A file being read in pieces, which others may change meanwhile. One thread at a time.
class ReadableFile {
 public:
  virtual ~ReadableFile() = default;
  // When it was opened.
  virtual int64_t size() const = 0;
  // Fills `out` from there on. ABORTED where the file has become shorter than that.
  virtual absl::Status ReadAt(int64_t offset, absl::Span<char> out) = 0;
  // Of the open file as it is now, wherever its path leads meanwhile. By itself UNIMPLEMENTED.
  virtual absl::StatusOr<FileStamp> Stamp();
};

// The seam between this project and the disk, so that tests inject faults. Errors name the path:
// NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, RESOURCE_EXHAUSTED (disk full, file larger than the
// limit), INVALID_ARGUMENT (a folder or a device where a file is wanted, a path that can't be one),
// else INTERNAL. Any thread may call.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  // Empties what lies there already; refuses a symbolic link.
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> Create(const std::string& path) = 0;
  // Goes on at the end of a file that is there; refuses a symbolic link. By itself, UNIMPLEMENTED:
  // for what is only ever written once.
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> OpenToAppend(const std::string& path);
  // RESOURCE_EXHAUSTED, before anything is allocated, where the file has more than `limit` bytes.
  virtual absl::StatusOr<std::string> Read(const std::string& path, int64_t limit) = 0;
  virtual absl::StatusOr<std::unique_ptr<MappedFile>> Map(const std::string& path) = 0;
  // By itself, what Read returns: for what holds its files in memory anyway.
  virtual absl::StatusOr<std::unique_ptr<ReadableFile>> Open(const std::string& path);
  // Memory that the kernel may write back to the folder's disk instead of keeping it, and that goes
  // with the result, or with the process. Its room on the disk is taken beforehand: where that is
  // full it is RESOURCE_EXHAUSTED, with folder and bytes, and writing to it never fails for it. By
  // itself, of the heap. REQUIRES: 0 < bytes.
  virtual absl::StatusOr<std::unique_ptr<ScratchMemory>> MapScratch(const std::string& folder,
                                                                    int64_t bytes);
  virtual absl::StatusOr<int64_t> Size(const std::string& path) = 0;
  // By itself, of Exists, IsDirectory and Size: for what has no links.
  virtual absl::StatusOr<PathInfo> Examine(const std::string& path);
  // Of what a link leads to. By itself UNIMPLEMENTED.
  virtual absl::StatusOr<FileStamp> Stamp(const std::string& path);
  virtual bool Exists(const std::string& path) = 0;
  virtual bool IsDirectory(const std::string& path) = 0;
  // Names (not paths) of what lies in a folder, sorted, without . and ..
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& path) = 0;
  // Parents too; OK where it exists already.
  virtual absl::Status CreateDirectories(const std::string& path) = 0;
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;
  virtual absl::Status Remove(const std::string& path) = 0;
  // A folder with all that is in it; OK where it is not there. Never follows symbolic links.
  virtual absl::Status RemoveAll(const std::string& path) = 0;
  virtual absl::Status SyncDirectory(const std::string& path) = 0;
  // With symbolic links and .. resolved; the path must exist.
  virtual absl::StatusOr<std::string> Canonical(const std::string& path) = 0;
  // What a folder takes on the disk, with all that is in it. Never follows symbolic links; leaves
  // out folders that may not be read.
  virtual absl::StatusOr<int64_t> TreeBytes(const std::string& path) = 0;
  // What this process may still write to the disk that the path lies on.
  virtual absl::StatusOr<int64_t> FreeBytes(const std::string& path) = 0;

  // The machine's; lives for ever.
  static FileSystem& Posix();
};

// Writes `data` to `path` so that a crash leaves either the old file or the new one: temporary file
// beside it (path + ".tmp", which a crash may leave), Sync, Rename, SyncDirectory. One writer of a
// path at a time. On an error before the rename the old file is still there, and nothing else.
absl::Status WriteFileAtomically(FileSystem& fs, const std::string& path, std::string_view data);

}  // namespace convd

#endif  // CONVD_CORE_STORAGE_FILE_SYSTEM_H_
