#ifndef CONVD_SERVER_AUTH_SECRET_FILE_H_
#define CONVD_SERVER_AUTH_SECRET_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/storage/file_system.h"
#include "core/time/clock.h"

namespace convd {

// Tells when files have been written anew, by their stamps. One thread at a time.
class WatchedFiles {
 public:
  WatchedFiles(FileSystem& fs, const Clock& clock, std::vector<std::string> paths);

  // True where one may have changed since the last time, and the first time. A file that isn't
  // there, and one that was written a moment ago, may have.
  bool MayHaveChanged();
  // The next MayHaveChanged is true: what there was could not be used, for a reason that needn't
  // show in the files.
  void LookAgain() { stamps_.clear(); }
  // False where the files were written a moment ago, and perhaps still are.
  bool settled() const { return !stamps_.empty(); }

 private:
  FileSystem& fs_;
  const Clock& clock_;
  const std::vector<std::string> paths_;
  std::vector<FileStamp> stamps_;  // empty where the next change might not show in them
};

// Who may open a file that access depends on.
enum class Readers { kEveryone, kOwnerAndGroup };

// The file's bytes, at most 1 MiB; links are followed, as those are by which Kubernetes changes its
// secrets. Errors name flag and path: FAILED_PRECONDITION with the mode where every user of this
// machine may read it against `readers`, or where others than its owner may write it; ABORTED where
// it was written meanwhile.
absl::StatusOr<std::string> ReadAccessFile(FileSystem& fs, absl::string_view flag,
                                           const std::string& path, Readers readers);

}  // namespace convd

#endif  // CONVD_SERVER_AUTH_SECRET_FILE_H_
