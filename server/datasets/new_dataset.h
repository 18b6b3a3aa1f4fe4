#ifndef CONVD_SERVER_DATASETS_NEW_DATASET_H_
#define CONVD_SERVER_DATASETS_NEW_DATASET_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "convd/v1/datasets.pb.h"
#include "core/data/dataset_files.h"
#include "core/data/image_dataset.h"
#include "core/data/limits.h"

namespace convd {

// What a request says of a dataset beside where its files lie. A plain value.
struct NewDataset {
  std::string name;
  std::vector<SplitFiles> files;
  std::vector<std::string> labels;
  ImageSize image_size;
  std::string upload_id;  // of an upload that has one
};

NewDataset ReadNewDataset(const v1::RegisterDatasetRequest& request);
NewDataset ReadNewDataset(const v1::UploadHeader& header);

// OK as far as can be told before there are files; INVALID_ARGUMENT begins with `prefix` and the
// field.
absl::Status CheckNewDataset(const std::string& prefix, const NewDataset& dataset,
                             const DataLimits& limits);

}  // namespace convd

#endif  // CONVD_SERVER_DATASETS_NEW_DATASET_H_
