#ifndef CONVD_SERVER_DATASETS_UPLOAD_FOLDER_H_
#define CONVD_SERVER_DATASETS_UPLOAD_FOLDER_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "convd/v1/datasets.pb.h"
#include "core/storage/file_system.h"

// One upload that has an id, as it lies in STATE/uploads/<id>, here `folder`:
//
//   upload.textproto    a v1::Upload without files: the header, and when it was used
//   files/<file>        as far as it has come
//
// Functions only; any thread may call.

namespace convd {

std::string UploadFilesFolder(const std::string& folder);

// Makes it in `temporary`, a path on the same disk, and moves it into place, for good. Nothing is
// left on an error. INVALID_ARGUMENT for a header that is too large to be kept.
absl::Status MakeUploadFolder(FileSystem& fs, const std::string& temporary,
                              const std::string& folder, const v1::UploadHeader& header,
                              absl::Time used);

// DATA_LOSS names the file where it can't be what `id` was begun with.
absl::StatusOr<v1::Upload> ReadUploadRecord(FileSystem& fs, const std::string& folder,
                                            const std::string& id);
absl::Status WriteUploadRecord(FileSystem& fs, const std::string& folder,
                               const v1::UploadHeader& header, absl::Time used);

// When it was used, where all that lies at `folder` is as above; an error says what isn't. Follows
// no link. Removes what a write of the record left that was interrupted.
absl::StatusOr<absl::Time> CheckUploadFolder(FileSystem& fs, const std::string& folder,
                                             const std::string& id);

}  // namespace convd

#endif  // CONVD_SERVER_DATASETS_UPLOAD_FOLDER_H_
