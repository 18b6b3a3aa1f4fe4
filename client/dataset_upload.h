#ifndef CONVD_CLIENT_DATASET_UPLOAD_H_
#define CONVD_CLIENT_DATASET_UPLOAD_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "convd/v1/datasets.pb.h"

namespace convd {

// Bytes of all files together. NOT_FOUND, PERMISSION_DENIED or INVALID_ARGUMENT (a folder) names
// the first that can't be read.
absl::StatusOr<int64_t> CheckLocalFiles(const std::vector<LocalFile>& files);

// Reads the files in order and hands each chunk of at most 1 MiB to `send`, which says false when
// nobody takes more; an empty file is one empty chunk. Returns the first error of reading.
absl::Status SendFiles(const std::vector<LocalFile>& files,
                       absl::FunctionRef<bool(const v1::UploadDatasetRequest&)> send,
                       const std::function<void(int64_t)>& on_sent);

}  // namespace convd

#endif  // CONVD_CLIENT_DATASET_UPLOAD_H_
