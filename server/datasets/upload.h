#ifndef CONVD_SERVER_DATASETS_UPLOAD_H_
#define CONVD_SERVER_DATASETS_UPLOAD_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "convd/v1/datasets.pb.h"
#include "core/storage/file_system.h"
#include "server/datasets/registry.h"

namespace convd {

// Where the files of one upload go, and what becomes of them.
struct UploadPlan {
  std::string folder;     // made with the first file, removed at the first error and at the end
  int64_t max_bytes = 0;  // of all files together
  TakeRoom take_room;     // asked before each write
  // Reads and publishes what lies in `folder`.
  absl::AnyInvocable<absl::StatusOr<v1::Dataset>()> publish;
  // Called by the destructor, when nothing is left on disk, with OK or what could not be removed.
  absl::AnyInvocable<void(const absl::Status&)> ended;
};

// INVALID_ARGUMENT names the first split or file whose name can't be right.
absl::Status CheckUploadHeader(const v1::UploadHeader& header);

// `fs` outlives the upload.
std::unique_ptr<DatasetUpload> NewUpload(FileSystem& fs, UploadPlan plan);

}  // namespace convd

#endif  // CONVD_SERVER_DATASETS_UPLOAD_H_
