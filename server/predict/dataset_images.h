#ifndef CONVD_SERVER_PREDICT_DATASET_IMAGES_H_
#define CONVD_SERVER_PREDICT_DATASET_IMAGES_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "convd/v1/images.pb.h"
#include "core/data/dataset.h"
#include "server/datasets/registry.h"

// What Predict and Evaluate read of registered datasets. All may read the disk; any thread may
// call.

namespace convd {

struct DatasetAndHash {
  std::shared_ptr<const Dataset> dataset;
  std::string sha256;
};

// The two belong together, whoever replaces the dataset meanwhile; ABORTED where that is just now.
absl::StatusOr<DatasetAndHash> LoadDataset(DatasetRegistry& datasets, const std::string& name);

// Of an empty `split` "test", or the only one. NOT_FOUND names `field` and the splits there are.
absl::StatusOr<const DatasetSplit*> FindSplit(absl::string_view field, const std::string& name,
                                              const Dataset& dataset, const std::string& split);

// The samples that `wanted` names, at most `max_images`, with their labels where they have some;
// they keep the dataset alive. Errors name the field, as "images.dataset.first".
absl::StatusOr<ImageSet> ReadDatasetImages(DatasetRegistry& datasets,
                                           const v1::DatasetImages& wanted, int64_t max_images);

}  // namespace convd

#endif  // CONVD_SERVER_PREDICT_DATASET_IMAGES_H_
