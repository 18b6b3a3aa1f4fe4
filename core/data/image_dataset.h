#ifndef CONVD_CORE_DATA_IMAGE_DATASET_H_
#define CONVD_CORE_DATA_IMAGE_DATASET_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/dataset.h"
#include "core/data/file_tree.h"
#include "core/data/limits.h"

namespace convd {

// The shape that images are brought to. All 0 for the one that they have; only channels 0 for grey
// where all images are, else RGB.
struct ImageSize {
  int height = 0;
  int width = 0;
  int channels = 0;

  bool given() const { return height != 0 || width != 0 || channels != 0; }
};

// OK for a size that images can have; INVALID_ARGUMENT names its field of `field`.
absl::Status CheckImageSize(const std::string& field, const ImageSize& size,
                            const DataLimits& limits);

// A dataset of PNG and JPEG files, laid out in folders (image_layout.h) or by CSV lists
// (label_list.h). What a file is, its first bytes say. Without a size all must have the same shape:
// INVALID_ARGUMENT names the first two that differ. One file at a time is in memory beside the
// result, which owns its data. Any thread may call, one at a time a tree.
absl::StatusOr<Dataset> ReadImageDataset(FileTree& tree, const std::string& name,
                                         const std::vector<std::string>& class_names,
                                         const ImageSize& size, const DataLimits& limits);

}  // namespace convd

#endif  // CONVD_CORE_DATA_IMAGE_DATASET_H_
