#ifndef CONVD_CORE_TRAIN_TRAINING_MEMORY_H_
#define CONVD_CORE_TRAIN_TRAINING_MEMORY_H_

#include <cstdint>

#include "convd/v1/model.pb.h"
#include "core/nn/graph.h"

namespace convd {

// About how many bytes a Trainer takes while it runs, rather too many than too few. Images aren't
// counted: they are mapped from files, and the system takes their pages back as it needs them.
struct TrainingMemory {
  int64_t workspaces = 0;  // activations and gradients of the workers, in training and validation
  int64_t arrays = 0;      // weights and all that is as large: moments, gradients, their sums
  int64_t total() const { return workspaces + arrays; }
};

// `request` is resolved, micro_batch too; `samples` are those trained on, `validated` those that
// each epoch ends with (0: none). No figure overflows: each ends near 2^62. Compiles and allocates
// nothing. Any thread may call.
TrainingMemory EstimateTrainingMemory(const Graph& graph, const v1::TrainRequest& request,
                                      int64_t samples, int64_t validated, int workers);

}  // namespace convd

#endif  // CONVD_CORE_TRAIN_TRAINING_MEMORY_H_
