#ifndef CONVD_CORE_DNN_PLAN_MEMORY_H_
#define CONVD_CORE_DNN_PLAN_MEMORY_H_

#include <cstdint>

#include "core/dnn/plan.h"
#include "core/nn/graph.h"

namespace convd {

// About how many bytes a plan's arrays take, from shapes and constants alone: the same on every
// machine, with nothing compiled or allocated. Rather too much than too little: what oneDNN pads
// and its scratchpads are guessed from above. No figure overflows: each ends at 2^62.
struct PlanMemory {
  int64_t workspace_bytes = 0;  // of one worker
  int64_t image_bytes = 0;      // of those, what each image of the micro-batch takes
  int64_t packed_bytes = 0;     // one array of packed parameters, such as the weights
  int64_t derived_bytes = 0;
};

// REQUIRES: options.images >= 1. Any thread may call.
PlanMemory EstimatePlanMemory(const Graph& graph, const PlanOptions& options);

}  // namespace convd

#endif  // CONVD_CORE_DNN_PLAN_MEMORY_H_
