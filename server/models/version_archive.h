#ifndef CONVD_SERVER_MODELS_VERSION_ARCHIVE_H_
#define CONVD_SERVER_MODELS_VERSION_ARCHIVE_H_

#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "convd/v1/model.pb.h"
#include "core/storage/file_system.h"

// A version's folder as a tar archive, NAME/VERSION/{MANIFEST, model.textproto, model.onnx}, and
// back. Functions only; any thread may call.

namespace convd {

// The most that an archive may have.
extern const int64_t kMaxArchiveBytes;

// Hands the archive of the folder `dir` to `sink`, piece by piece, until it returns an error, which
// is returned. Nothing is handed over before all files are checked: DATA_LOSS as ReadCheckedWeights
// has it. The same version gives the same bytes.
absl::Status WriteVersionArchive(FileSystem& fs, const std::string& dir,
                                 const v1::ModelVersion& version,
                                 absl::FunctionRef<absl::Status(std::string_view)> sink);

// Writes what `archive` holds into `dir`, which is there and empty, and returns which version it
// says it is. INVALID_ARGUMENT, beginning with `name`, where it isn't exactly those three files,
// regular ones, each once, of a size that it may have. Nothing else of an entry is believed: no
// owner, no mode, no path but that one. What the files hold is for ReadCheckedWeights to check.
absl::StatusOr<v1::ModelVersion> UnpackVersionArchive(FileSystem& fs, std::string_view archive,
                                                      const std::string& name,
                                                      const std::string& dir);

}  // namespace convd

#endif  // CONVD_SERVER_MODELS_VERSION_ARCHIVE_H_
