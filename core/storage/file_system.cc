#include "core/storage/file_system.h"

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"

namespace convd {

absl::Status WriteFileAtomically(FileSystem& fs, const std::string& path, std::string_view data) {
  const std::string temporary = absl::StrCat(path, ".tmp");
  absl::StatusOr<std::unique_ptr<WritableFile>> file = fs.Create(temporary);
  CONVD_RETURN_IF_ERROR(file.status());
  // The first error is the one to tell; that the temporary file stays too is no news then.
  absl::Cleanup remove = [&] { fs.Remove(temporary).IgnoreError(); };
  CONVD_RETURN_IF_ERROR((*file)->Append(data));
  CONVD_RETURN_IF_ERROR((*file)->Sync());
  CONVD_RETURN_IF_ERROR((*file)->Close());
  CONVD_RETURN_IF_ERROR(fs.Rename(temporary, path));
  std::move(remove).Cancel();
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "."
                             : slash == 0               ? "/"
                                                        : path.substr(0, slash);
  return fs.SyncDirectory(folder);
}

}  // namespace convd
