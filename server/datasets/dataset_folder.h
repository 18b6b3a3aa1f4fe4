#ifndef CONVD_SERVER_DATASETS_DATASET_FOLDER_H_
#define CONVD_SERVER_DATASETS_DATASET_FOLDER_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "convd/v1/datasets.pb.h"
#include "core/data/dataset.h"
#include "core/storage/file_system.h"

namespace convd {

// One dataset as it lies in STATE/datasets/<sha256>:
//   <split>.images.npy   count x height x width x channels, |u1 or <f4
//   <split>.labels.npy   count, <i4
//   dataset.textproto    a v1::Dataset without a name
// Arrays begin at a multiple of 64 bytes, so they are used where they are mapped.

constexpr char kDatasetRecordFile[] = "dataset.textproto";

// The SHA-256, in hex, of the following bytes; numbers are 64-bit and little-endian, texts are
// their length as such a number and their bytes:
//   "convd-dataset-1\n"; height, width, channels, element type (1 uint8, 2 float32);
//   the number of classes, and the name of each as a text;
//   the number of splits, and for each, in ascending byte order of their names: the name as a text,
//   the number of samples, the pixels (NHWC; float32 little-endian), the labels (int32
//   little-endian).
// So the same decoded data has the same hash, whatever files it came in. Empty where hashing fails
// (no memory). REQUIRES: splits of one shape and type, with a label a sample.
std::string HashDataset(const Dataset& dataset);

// True for 64 lower-case hex digits.
bool IsSha256(std::string_view text);

// The record of `dataset`, without name and time. Reads the pixels once for what they are like. The
// size is that of the arrays' files.
v1::Dataset DescribeDataset(const Dataset& dataset, const std::string& sha256);

// Makes `folder` with all of the above, each file and the folder synced. What is there after an
// error is the caller's to remove. REQUIRES: split names that CheckName takes.
absl::Status WriteDatasetFolder(FileSystem& fs, const std::string& folder, const Dataset& dataset,
                                const v1::Dataset& record);

// As it lies in a file (server/record_text.h). DATA_LOSS names `path`.
absl::StatusOr<v1::Dataset> ReadDatasetRecord(FileSystem& fs, const std::string& path);

// The record in `folder`, once it makes sense and the arrays' files have the sizes that it says;
// else DATA_LOSS.
absl::StatusOr<v1::Dataset> CheckDatasetFolder(FileSystem& fs, const std::string& folder,
                                               const std::string& sha256);

// The arrays, mapped: shapes, types and labels are checked against `record`. DATA_LOSS where they
// don't match. Splits keep their mappings alive.
absl::StatusOr<std::shared_ptr<const Dataset>> MapDataset(FileSystem& fs, const std::string& folder,
                                                          const v1::Dataset& record);

}  // namespace convd

#endif  // CONVD_SERVER_DATASETS_DATASET_FOLDER_H_
