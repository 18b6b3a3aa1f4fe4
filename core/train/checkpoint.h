#ifndef CONVD_CORE_TRAIN_CHECKPOINT_H_
#define CONVD_CORE_TRAIN_CHECKPOINT_H_

#include <cstdint>
#include <string_view>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "convd/v1/checkpoint.pb.h"
#include "convd/v1/model.pb.h"
#include "core/nn/graph.h"

// The bytes of Trainer::Save: "CVTS", the format's version (32 bits) and the state's size (64
// bits), a v1::TrainerState, and its arrays of floats, one after another, each as long as the
// network's canonical parameters: the weights; SGD's momentum, or Adam's first moment and its
// second; after the first epoch the best one's weights, where early stopping restores them. All
// numbers are little-endian. Any thread may call what is here.

namespace convd {

using CheckpointSink = absl::FunctionRef<absl::Status(std::string_view)>;

// A state that says whose run it is, and nothing else yet.
v1::TrainerState StateOfRun(const Graph& graph, const v1::TrainRequest& request,
                            int64_t train_samples, int64_t validation_samples);

// Errors are the sink's; RESOURCE_EXHAUSTED where the state is larger than a reader takes.
absl::Status WriteTrainerState(const v1::TrainerState& state, CheckpointSink sink);
absl::Status WriteArray(absl::Span<const float> values, CheckpointSink sink);

// A saved run taken apart, whose every byte may be hostile.
class SavedTrainer {
 public:
  // FAILED_PRECONDITION where it isn't the run that `run` (StateOfRun) is of; DATA_LOSS where it
  // isn't what was written, or is at a place that the run doesn't have. `saved` outlives this.
  static absl::StatusOr<SavedTrainer> Read(std::string_view saved, const v1::TrainerState& run,
                                           const Graph& graph);

  const v1::TrainerState& state() const { return state_; }
  // Reads the next array, as long as the network's parameters are. DATA_LOSS where a value isn't
  // finite. REQUIRES: there is one.
  absl::Status ReadArray(std::string_view name, absl::Span<float> values);

 private:
  SavedTrainer(v1::TrainerState state, std::string_view arrays)
      : state_(std::move(state)), arrays_(arrays) {}

  v1::TrainerState state_;
  std::string_view arrays_;  // those not read yet
};

}  // namespace convd

#endif  // CONVD_CORE_TRAIN_CHECKPOINT_H_
