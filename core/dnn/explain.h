#ifndef CONVD_CORE_DNN_EXPLAIN_H_
#define CONVD_CORE_DNN_EXPLAIN_H_

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "convd/v1/explanation.pb.h"
#include "core/dnn/plan.h"
#include "core/nn/graph.h"
#include "core/time/clock.h"

namespace convd {

// The largest batch that is explained: as a training's.
inline constexpr int64_t kMostExplainedBatch = 1 << 20;

struct ExplainOptions {
  int64_t batch_size = 32;
  int64_t micro_batch = 0;                            // 0: the engine's choice, MicroBatchImages
  int64_t memory_bytes = 0;                           // what it may take; 0: no limit
  v1::Precision train_precision = v1::PRECISION_F32;  // not int8
  v1::Precision predict_precision = v1::PRECISION_F32;
  // Where predict_precision is int8, of this network; it need not outlive the call.
  const v1::Quantization* quantization = nullptr;
  v1::Augmentation augmentation = {};  // of training
};

// Compiles the network's training and prediction plans, runs each on synthetic pixels, and says of
// each call what it is and how long it takes (the median of the runs), beside the FMA peak of the
// core. All on the calling thread, in about a second: a plan runs once at least, however long that
// is, and not more than a hundred times. `at_cut` is asked after each call; it returns true to go
// on, false to stop, and what it does itself isn't counted into the times.
//
// INVALID_ARGUMENT names augmentation.shift, batch_size or micro_batch, also where the plans would
// take more than memory_bytes ("network" where one image does); FAILED_PRECONDITION where the CPU
// or the network lacks the precision (Plan::Compile); CANCELLED where at_cut stopped it;
// RESOURCE_EXHAUSTED where memory runs out all the same. Any thread may call.
absl::StatusOr<v1::Explanation> Explain(const Graph& graph, const ExplainOptions& options,
                                        const Clock& clock, absl::FunctionRef<bool()> at_cut);

// The calls of a plan without running them. Errors as Plan::Compile has them. Any thread may call.
absl::StatusOr<std::vector<CallInfo>> PlanCalls(const Graph& graph, const PlanOptions& options);

}  // namespace convd

#endif  // CONVD_CORE_DNN_EXPLAIN_H_
