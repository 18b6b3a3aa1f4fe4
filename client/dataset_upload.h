#ifndef CONVD_CLIENT_DATASET_UPLOAD_H_
#define CONVD_CLIENT_DATASET_UPLOAD_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
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

// A name for the upload of these files as this dataset, of 40 characters: the same for the same
// header, names, sizes and times of the last change. Errors as above.
absl::StatusOr<std::string> UploadIdFor(const v1::UploadHeader& header,
                                        const std::vector<LocalFile>& files);

// Bytes that the server has, by the file's name.
using BytesThere = std::map<std::string, int64_t>;

// What `upload` says is there, where all of it is how `files` begin; nothing where it isn't, or
// where they can't be read. Reads that much of them; `go_on` false ends it with CANCELLED.
absl::StatusOr<std::optional<BytesThere>> FindBytesThere(const v1::Upload& upload,
                                                         const std::vector<LocalFile>& files,
                                                         absl::FunctionRef<bool()> go_on);

// Reads the files in order, each from where `there` ends, and hands each chunk of at most 1 MiB to
// `send`, which says false when nobody takes more; an empty file is one empty chunk. `on_sent` is
// told of all bytes that are there by now. Whether all was sent; the first error of reading.
absl::StatusOr<bool> SendFiles(const std::vector<LocalFile>& files, const BytesThere& there,
                               absl::FunctionRef<bool(const v1::UploadDatasetRequest&)> send,
                               absl::FunctionRef<void(int64_t)> on_sent);

}  // namespace convd

#endif  // CONVD_CLIENT_DATASET_UPLOAD_H_
