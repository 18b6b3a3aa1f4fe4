#ifndef CONVD_SERVER_DATASETS_DATA_DIRS_H_
#define CONVD_SERVER_DATASETS_DATA_DIRS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/data/dataset_files.h"
#include "core/data/limits.h"
#include "core/storage/file_system.h"

namespace convd {

// The folders that files may be read from, and nothing outside them, whatever .. or symbolic links
// say. Immutable; any thread may call.
class DataDirs {
 public:
  // Errors name `flag` and the folder, where one isn't there.
  static absl::StatusOr<DataDirs> Open(FileSystem& fs, const std::vector<std::string>& dirs,
                                       const std::string& flag);

  // The canonical path of `path`, absolute or relative to one of the folders (the first that has
  // it). PERMISSION_DENIED names the flag where it leads outside, whether there is something or
  // not; NOT_FOUND where nothing is there; INVALID_ARGUMENT where it can't be a path. Errors begin
  // with `field`.
  absl::StatusOr<std::string> Resolve(const std::string& field, const std::string& path) const;

 private:
  DataDirs(FileSystem& fs, std::string flag) : fs_(&fs), flag_(std::move(flag)) {}

  bool Contains(const std::string& normal_path) const;

  FileSystem* fs_;
  std::string flag_;
  std::vector<std::string> given_;  // absolute as given, to tell what names are inside
  std::vector<std::string> dirs_;   // canonical
};

// PERMISSION_DENIED names the first of `files` in the folder `path` that lies outside; all else
// that may be wrong with them is for FindDatasetFiles to find. No more than limits.files are looked
// at.
absl::Status CheckInside(const DataDirs& allowed, const std::string& path,
                         const std::vector<SplitFiles>& files, const DataLimits& limits);

}  // namespace convd

#endif  // CONVD_SERVER_DATASETS_DATA_DIRS_H_
