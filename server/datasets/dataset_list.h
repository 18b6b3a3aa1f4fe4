#ifndef CONVD_SERVER_DATASETS_DATASET_LIST_H_
#define CONVD_SERVER_DATASETS_DATASET_LIST_H_

#include "absl/status/status.h"
#include "convd/v1/datasets.pb.h"
#include "server/datasets/registry.h"

namespace convd {

// What gRPC and HTTP both answer about datasets, from memory. Any thread may call.

// A page ends at page_size datasets or about a megabyte. INVALID_ARGUMENT names the field.
absl::Status ListDatasets(DatasetRegistry& datasets, const v1::ListDatasetsRequest& request,
                          v1::ListDatasetsResponse& response);
absl::Status GetDataset(DatasetRegistry& datasets, const v1::GetDatasetRequest& request,
                        v1::Dataset& response);

}  // namespace convd

#endif  // CONVD_SERVER_DATASETS_DATASET_LIST_H_
