#ifndef CONVD_CORE_DATA_FILE_TREE_H_
#define CONVD_CORE_DATA_FILE_TREE_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/data/limits.h"
#include "core/storage/file_system.h"

namespace convd {

// The files of a folder or an archive, whichever it is. Reading one keeps one in memory. One thread
// at a time.
class FileTree {
 public:
  using Use = absl::FunctionRef<absl::Status(std::string_view bytes)>;

  virtual ~FileTree() = default;

  // With slashes between folders and file, relative, without "." or ".."; in byte order, each once.
  const std::vector<std::string>& paths() const { return paths_; }
  // The path for messages: escaped, shortened, after an archive's name.
  std::string Shown(size_t i) const;

  // Hands over the bytes of file `i`, which are gone afterwards, and returns what `use` does.
  // Errors begin with Shown(i): INVALID_ARGUMENT past a limit and where it is damaged or no
  // plain file, else the disk's.
  virtual absl::Status Read(size_t i, Use use) = 0;

 protected:
  std::string prefix_;
  std::vector<std::string> paths_;
};

// False for what systems leave in folders on their own account (.DS_Store, ._x, __MACOSX,
// Thumbs.db, desktop.ini, and whatever else begins with a dot).
bool IsVisibleName(std::string_view name);

// OK where a file may be called that in a FileTree; the error begins with `shown`.
absl::Status CheckTreePath(const std::string& shown, std::string_view path);

// A file in a folder: where it is opened, and its path within the folder.
struct TreeFile {
  std::string path;
  std::string within;
};

// Says where a file or folder really lies, or that it may not be looked at; `shown` is for errors.
using ResolvePath =
    std::function<absl::StatusOr<std::string>(const std::string& shown, const std::string& path)>;
inline absl::StatusOr<std::string> TakeAnyPath(const std::string&, const std::string& path) {
  return path;
}

// All visible files below a folder, at most `depth` folders deep: INVALID_ARGUMENT names a folder
// that lies deeper, or says that there are more than limits.image_files. Nothing is asked of the
// disk about an entry before `resolve` has taken it. In byte order. Any thread may call.
absl::StatusOr<std::vector<TreeFile>> ListTree(FileSystem& fs, const std::string& folder,
                                               const std::string& name, int depth,
                                               const ResolvePath& resolve,
                                               const DataLimits& limits);

// What ListTree found. `fs` and `files` outlive it.
std::unique_ptr<FileTree> NewFolderTree(FileSystem& fs, const std::vector<TreeFile>& files,
                                        const DataLimits& limits);

// Whether the bytes are an archive of files: a tar, or a zip that isn't an npz, in which there is
// no .npy.
bool IsFileArchive(std::string_view bytes);

// A zip or an uncompressed tar in memory. Everything that limits bound is checked here, from what
// the archive says, and again when files are read. INVALID_ARGUMENT, with archive and member, for
// links, devices, names that lead elsewhere or come twice, encrypted or oddly compressed members.
// `bytes` outlives it. Any thread may call.
absl::StatusOr<std::unique_ptr<FileTree>> OpenArchiveTree(std::string_view bytes,
                                                          const std::string& name,
                                                          const DataLimits& limits);

}  // namespace convd

#endif  // CONVD_CORE_DATA_FILE_TREE_H_
