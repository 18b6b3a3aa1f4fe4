#ifndef CONVD_SERVER_JOBS_RESOLVE_H_
#define CONVD_SERVER_JOBS_RESOLVE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "convd/v1/model.pb.h"
#include "core/nn/graph.h"
#include "core/train/trainer.h"
#include "server/datasets/registry.h"
#include "server/models/repository.h"

namespace convd {

// A training job that can run: everything that a request may get wrong has been checked.
struct ResolvedJob {
  v1::TrainRequest request;  // every field set; a preset stays a name
  Graph graph;
  TrainingData data;              // keeps the datasets' mappings alive
  std::string data_sha256;        // of the dataset trained on
  std::string validation_sha256;  // of the one validated on; "" where that is none, or the same
  std::string summary;            // the network's table
  std::vector<std::string> warnings;
  std::string sent_sha256 = "";  // SentSha256 of the request that it was resolved from
  // Of the split trained on; unset where its dataset's record doesn't have it.
  v1::PixelStatistics training_pixels = {};
  int64_t memory_bytes = 0;  // that training it takes, by EstimateTrainingMemory
};

// By which a request that comes again is recognized as it was sent, whatever its defaults would be
// by now. "", which none is recognized by, where memory is short.
std::string SentSha256(const v1::TrainRequest& request);

// What a job may take of the memory here while no other runs, and how many workers share the work
// and need buffers.
struct JobMemory {
  int64_t bytes = 0;  // 0: no limit
  int workers = 1;
};

// Checks the whole request and fills in every default, as model.proto has them. NOT_FOUND names an
// unknown preset, dataset or split; INVALID_ARGUMENT names the field, what was found and what would
// be right. A job that would take more than `memory` is INVALID_ARGUMENT, too: no retry helps it
// here, only another request. Reads datasets, so it may block. Any thread may call.
// `models` has the version that the job may begin with; null where there are none.
absl::StatusOr<ResolvedJob> ResolveJob(const v1::TrainRequest& request, DatasetRegistry& datasets,
                                       const JobMemory& memory = {},
                                       ModelRepository* models = nullptr);

}  // namespace convd

#endif  // CONVD_SERVER_JOBS_RESOLVE_H_
