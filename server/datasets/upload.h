#ifndef CONVD_SERVER_DATASETS_UPLOAD_H_
#define CONVD_SERVER_DATASETS_UPLOAD_H_

#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "convd/v1/datasets.pb.h"
#include "core/storage/file_system.h"
#include "server/datasets/registry.h"
#include "server/datasets/upload_files.h"

namespace convd {

// What becomes of one upload that goes with its stream.
struct UploadPlan {
  std::unique_ptr<UploadFiles> files;  // their folder is removed at the first error and at the end
  // Reads and publishes what lies in the folder.
  absl::AnyInvocable<absl::StatusOr<v1::Dataset>()> publish;
  // Called by the destructor, when nothing is left on disk, with OK or what could not be removed.
  absl::AnyInvocable<void(const absl::Status&)> ended;
};

// INVALID_ARGUMENT names the first name that can't be right: the id's, a split's or a file's.
absl::Status CheckUploadHeader(const v1::UploadHeader& header);

// `fs` outlives the upload.
std::unique_ptr<DatasetUpload> NewUpload(FileSystem& fs, UploadPlan plan);

}  // namespace convd

#endif  // CONVD_SERVER_DATASETS_UPLOAD_H_
