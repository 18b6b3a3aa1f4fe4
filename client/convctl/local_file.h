#ifndef CONVD_CLIENT_CONVCTL_LOCAL_FILE_H_
#define CONVD_CLIENT_CONVCTL_LOCAL_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/client.h"

namespace convd {

// A whole local file of at most `limit` bytes. Usage errors (exit_code.h) name it.
absl::StatusOr<std::string> ReadLocalFile(const std::string& path, int64_t limit);

// The files to upload for what was named on the command line: files as they are, and of a folder
// the regular files in it (no hidden ones, no folders), by name. A usage error for none at all,
// which says what to do with a folder of folders, for a path that isn't there, for a pipe or
// device, and for two files of one name.
absl::StatusOr<std::vector<LocalFile>> FilesToUpload(const std::vector<std::string>& paths);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_LOCAL_FILE_H_
