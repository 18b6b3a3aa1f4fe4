#ifndef CONVD_CORE_TRAIN_TRAINER_H_
#define CONVD_CORE_TRAIN_TRAINER_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "convd/v1/model.pb.h"
#include "core/data/dataset.h"
#include "core/exec/executor.h"
#include "core/nn/graph.h"
#include "core/time/clock.h"

namespace convd {

// Checks a request's training figures and fills in every default (optimizer, batch size, epochs,
// seed, shuffle, both precisions, augmentation, priority, early stopping but for what it monitors).
// max_runtime may stay unset. INVALID_ARGUMENT names the field; so does
// FAILED_PRECONDITION where this CPU lacks a precision. Leaves model, dataset, architecture and
// validation alone; how far augmentation may move samples of what size is CheckAugmentation's
// (core/dnn/gather.h).
absl::Status ResolveTraining(v1::TrainRequest& request);
// After it, when it is known whether there is a validation set: fills in early_stopping.monitor
// where there is early stopping. INVALID_ARGUMENT where that is of a validation that there isn't.
absl::Status ResolveEarlyStopping(v1::TrainRequest& request, bool has_validation);

struct TrainingData {
  ImageSet train;
  ImageSet validation;              // count 0: none
  std::vector<std::string> labels;  // one a class
};

// INVALID_ARGUMENT where data and graph don't fit: shape, labels beyond the classes, no samples,
// f32 pixels that aren't finite.
absl::Status CheckTrainingData(const TrainingData& data, const Graph& graph);
// INVALID_ARGUMENT where there aren't as many as the graph has, or one isn't finite.
absl::Status CheckInitialWeights(absl::Span<const float> initial, const Graph& graph);

// Where a training run is, as its observer sees it; figures are of the epoch so far.
struct TrainingProgress {
  int64_t epoch = 0;  // from 1
  int64_t epochs = 0;
  int64_t step = 0;  // steps done in this epoch
  int64_t steps = 0;
  double loss = 0;
  double accuracy = 0;
  double images_per_second = 0;
  double seconds_left = 0;
  bool validating = false;
};

class Trainer;

// Called between steps, by the thread that runs Trainer::Run or by a worker, one at a time. Quick,
// or training waits.
class TrainingObserver {
 public:
  virtual ~TrainingObserver() = default;
  virtual void OnProgress(const TrainingProgress& progress) = 0;
  virtual void OnEpoch(const v1::EpochRecord& record) = 0;
  // Asked at cuts, by several threads at once; true ends the run with CANCELLED.
  virtual bool Cancelled() const = 0;
  // Asked after each step; true makes OnCheckpoint come before the next.
  virtual bool WantsCheckpoint() { return false; }
  // Where `trainer` can be saved: when WantsCheckpoint said so, and after each OnEpoch. Always on
  // the thread that runs Trainer::Run, and may take its time, which isn't counted as training's. An
  // error ends the run with it.
  virtual absl::Status OnCheckpoint(const Trainer& /*trainer*/) { return absl::OkStatus(); }
};

// One training job's state: weights, optimizer moments, position. What it computes depends on the
// graph, the resolved request, the data and the instruction set alone, never on the executor's
// worker count or load. One thread at a time, which may not be one of the executor's workers.
class Trainer {
 public:
  virtual ~Trainer() = default;

  // `request` is resolved (ResolveTraining). INVALID_ARGUMENT as CheckTrainingData and
  // ResolveEarlyStopping have it, or where samples would be moved further than they are large
  // (augmentation.shift). Begins with the weights `initial`, canonical and as CheckInitialWeights
  // wants them; where there are none, with new ones by the seed.
  static absl::StatusOr<std::unique_ptr<Trainer>> Create(const Graph& graph,
                                                         const v1::TrainRequest& request,
                                                         TrainingData data, Executor& executor,
                                                         const Clock& clock,
                                                         absl::Span<const float> initial = {});

  // Trains from where it is to the end of the last epoch, or to where early stopping ends the run;
  // weights, validation and quantization are then the best epoch's if early stopping restores it.
  // Validates each at
  // request.serving_precision; for int8 it calibrates anew each time. CANCELLED when the observer
  // asks; DATA_LOSS (with epoch, step and what to try) when the loss, the weights or a validation's
  // loss are not finite.
  virtual absl::Status Run(TrainingObserver& observer) = 0;

  // Writes what Restore needs, piece by piece; the sink's error is the answer. In OnCheckpoint and
  // whenever Run isn't running: after a CANCELLED one, what was after the last whole step.
  virtual absl::Status Save(absl::FunctionRef<absl::Status(std::string_view)> sink) const = 0;
  // Goes to where `saved` was; Run then gives the bits of the unbroken run where the instruction
  // set and oneDNN are the same. Before Run, once. DATA_LOSS where the bytes aren't what Save
  // wrote, FAILED_PRECONDITION where they are another network's, request's or data's; each names
  // the field. After an error this can't be used any more.
  virtual absl::Status Restore(std::string_view saved) = 0;

  // After Run: quantization() and served(). Computes nothing twice that the last validation did.
  // CANCELLED when the observer asks. What fails besides is left out, except that a version to be
  // served at int8 needs its quantization.
  virtual absl::Status PrepareServing(TrainingObserver& observer) = 0;

  // Canonical, in the graph's order, as they are now.
  virtual std::vector<float> parameters() const = 0;
  virtual const std::vector<v1::EpochRecord>& history() const = 0;
  // Of the last validation, at the serving precision; samples 0 where there was none.
  virtual const v1::Metrics& validation() const = 0;
  // What int8 needs, made on any CPU; samples 0 where it can't be, as where an input isn't finite.
  virtual const v1::Quantization& quantization() const = 0;
  // Of each precision that this CPU has, over the validation set; empty where there is none.
  virtual const std::vector<v1::ServedAccuracy>& served() const = 0;
  // What PrepareServing left out and why, in words for a log.
  virtual const std::vector<std::string>& warnings() const = 0;
};

}  // namespace convd

#endif  // CONVD_CORE_TRAIN_TRAINER_H_
