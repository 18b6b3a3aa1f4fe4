#ifndef CONVD_SERVER_JOBS_RESOLVE_H_
#define CONVD_SERVER_JOBS_RESOLVE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "convd/v1/model.pb.h"
#include "core/nn/graph.h"
#include "core/train/trainer.h"
#include "server/datasets/registry.h"

namespace convd {

// A training job that can run: everything that a request may get wrong has been checked.
struct ResolvedJob {
  v1::TrainRequest request;  // every field set; a preset stays a name
  Graph graph;
  TrainingData data;        // keeps the datasets' mappings alive
  std::string data_sha256;  // of the dataset trained on
  std::string summary;      // the network's table
  std::vector<std::string> warnings;
};

// Checks the whole request and fills in every default, as model.proto has them. NOT_FOUND names an
// unknown preset, dataset or split; INVALID_ARGUMENT names the field, what was found and what would
// be right. Reads datasets, so it may block. Any thread may call.
absl::StatusOr<ResolvedJob> ResolveJob(const v1::TrainRequest& request, DatasetRegistry& datasets);

}  // namespace convd

#endif  // CONVD_SERVER_JOBS_RESOLVE_H_
