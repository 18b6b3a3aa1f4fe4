#include "core/train/trainer.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <numeric>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "core/data/prefetch.h"
#include "core/dnn/aligned_buffer.h"
#include "core/dnn/plan.h"
#include "core/nn/initial_parameters.h"
#include "core/random/random.h"
#include "core/status/status_macros.h"
#include "core/train/checkpoint.h"
#include "core/train/early_stopping.h"
#include "core/train/gradient_sum.h"
#include "core/train/optimizer.h"
#include "core/train/serving_evaluation.h"

namespace convd {
namespace {

template <typename F>
absl::Status CatchOutOfMemory(F f) {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory while training");
  }
}

class PlanTrainer : public Trainer {
 public:
  PlanTrainer(const Graph& graph, const v1::TrainRequest& request, TrainingData data,
              Executor& executor, const Clock& clock)
      : graph_(graph),
        request_(request),
        data_(std::move(data)),
        executor_(executor),
        clock_(clock),
        serving_(graph_, data_, request_.serving_precision(), executor_) {}

  // `initial` as Trainer::Create has it.
  absl::Status Build(absl::Span<const float> initial) {
    const int64_t batch = std::min<int64_t>(request_.batch_size(), data_.train.count);
    const int64_t images = request_.micro_batch() > 0 ? std::min(request_.micro_batch(), batch)
                                                      : MicroBatchImages(graph_, batch);
    CONVD_ASSIGN_OR_RETURN(plan_, Plan::Compile(graph_, {.training = true,
                                                         .images = images,
                                                         .precision = request_.precision(),
                                                         .augmentation = request_.augmentation()}));
    weights_ = AlignedBuffer(plan_->packed_size());
    derived_ = AlignedBuffer(std::max<int64_t>(1, plan_->derived_size()));
    sum_ = std::make_unique<GradientSum>(plan_->packed_size());
    if (request_.has_early_stopping()) stopping_.emplace(request_.early_stopping());
    optimizer_.emplace(plan_, request_.optimizer(), weights_.data(), derived_.data(), *sum_);
    if (initial.empty()) {
      CONVD_RETURN_IF_ERROR(
          plan_->Pack(InitialParameters(graph_, request_.seed()), weights_.data()));
    } else {
      CONVD_RETURN_IF_ERROR(plan_->Pack(initial, weights_.data()));
    }
    return DeriveWeights();
  }

  absl::Status Run(TrainingObserver& observer) override {
    running_since_ = clock_.Monotonic();
    const absl::Status status = RunEpochs(observer);
    CountTime();
    return status;
  }

  absl::Status Save(CheckpointSink sink) const override {
    return CatchOutOfMemory([&]() -> absl::Status {
      v1::TrainerState state = StateOfThisRun();
      state.mutable_history()->Assign(history_.begin(), history_.end());
      state.set_seen(seen_);
      state.set_loss_sum(loss_sum_);
      state.set_correct(correct_);
      state.set_seconds(epoch_seconds_);
      state.set_training_seconds(training_seconds_);
      state.set_steps(optimizer_->steps());
      *state.mutable_validation() = serving_.validation();
      *state.mutable_quantization() = serving_.quantization();
      const bool best = keeps_best() && !history_.empty();
      if (best) {
        *state.mutable_best_validation() = best_validation_;
        *state.mutable_best_quantization() = best_quantization_;
      }
      CONVD_RETURN_IF_ERROR(WriteTrainerState(state, sink));
      // In canonical order, so that an instruction set which packs them otherwise can go on.
      std::vector<float> canonical(graph_.parameter_count());
      for (const PackedArray& array : PackedArrays()) {
        CONVD_RETURN_IF_ERROR(plan_->Unpack(array.packed, absl::MakeSpan(canonical)));
        CONVD_RETURN_IF_ERROR(WriteArray(canonical, sink));
      }
      return best ? WriteArray(best_weights_, sink) : absl::OkStatus();
    });
  }

  absl::Status Restore(std::string_view saved) override {
    return CatchOutOfMemory([&]() -> absl::Status {
      CONVD_ASSIGN_OR_RETURN(SavedTrainer from,
                             SavedTrainer::Read(saved, StateOfThisRun(), graph_));
      const v1::TrainerState& state = from.state();
      std::vector<float> canonical(graph_.parameter_count());
      for (const PackedArray& array : PackedArrays()) {
        CONVD_RETURN_IF_ERROR(from.ReadArray(array.name, absl::MakeSpan(canonical)));
        CONVD_RETURN_IF_ERROR(plan_->Pack(canonical, array.packed));
      }
      for (const v1::EpochRecord& record : state.history()) {
        history_.push_back(record);
        seconds_done_ += record.seconds();
        if (stopping_) stopping_->Add(record);
      }
      if (keeps_best() && !history_.empty()) {
        CONVD_RETURN_IF_ERROR(from.ReadArray("best_weights", absl::MakeSpan(canonical)));
        best_weights_ = std::move(canonical);
        best_validation_ = state.best_validation();
        best_quantization_ = state.best_quantization();
      }
      epoch_ = static_cast<int64_t>(history_.size()) + (state.seen() > 0 ? 1 : 0);
      seen_ = state.seen();
      loss_sum_ = state.loss_sum();
      correct_ = state.correct();
      epoch_seconds_ = state.seconds();
      training_seconds_ = state.training_seconds();
      optimizer_->set_steps(state.steps());
      serving_.Set(state.validation(), state.quantization());
      return DeriveWeights();
    });
  }

  absl::Status PrepareServing(TrainingObserver& observer) override {
    {
      // No step comes any more: make room for what predicts.
      absl::MutexLock lock(&mutex_);
      idle_.clear();
    }
    const std::vector<float> current = parameters();
    CONVD_RETURN_IF_ERROR(unpacked_);
    return DivergedWhereDataLoss(serving_.Prepare(current, [&] { return observer.Cancelled(); }));
  }

  std::vector<float> parameters() const override {
    std::vector<float> canonical(graph_.parameter_count());
    unpacked_ = plan_->Unpack(weights_.data(), absl::MakeSpan(canonical));
    return canonical;
  }

  const std::vector<v1::EpochRecord>& history() const override { return history_; }
  const v1::Metrics& validation() const override { return serving_.validation(); }
  const v1::Quantization& quantization() const override { return serving_.quantization(); }
  const std::vector<v1::ServedAccuracy>& served() const override { return serving_.served(); }
  const std::vector<std::string>& warnings() const override { return serving_.warnings(); }

 private:
  int64_t steps() const {
    return (data_.train.count + request_.batch_size() - 1) / request_.batch_size();
  }

  // Of this epoch.
  int64_t steps_done() const { return (seen_ + request_.batch_size() - 1) / request_.batch_size(); }

  struct PackedArray {
    std::string_view name;
    float* packed;
  };
  std::vector<PackedArray> PackedArrays() const {
    std::vector<PackedArray> arrays = {{"weights", weights_.data()}};
    const char* const names[] = {"first_moment", "second_moment"};
    for (size_t i = 0; i < optimizer_->moments().size(); ++i)
      arrays.push_back({names[i], optimizer_->moments()[i].data()});
    return arrays;
  }
  v1::TrainerState StateOfThisRun() const {
    return StateOfRun(graph_, request_, data_.train.count, data_.validation.count);
  }

  // Counts the time up to now as the epoch's.
  void CountTime() {
    const absl::Duration now = clock_.Monotonic();
    epoch_seconds_ += absl::ToDoubleSeconds(now - std::exchange(running_since_, now));
  }
  double EpochSeconds() const {
    return epoch_seconds_ + absl::ToDoubleSeconds(clock_.Monotonic() - running_since_);
  }
  absl::Status Checkpoint(TrainingObserver& observer) {
    const absl::Status status = observer.OnCheckpoint(*this);
    running_since_ = clock_.Monotonic();
    return status;
  }

  absl::Status RunEpochs(TrainingObserver& observer) {
    while (static_cast<int64_t>(history_.size()) < request_.epochs() &&
           !(stopping_ && stopping_->stops())) {
      epoch_ = static_cast<int64_t>(history_.size()) + 1;
      CONVD_RETURN_IF_ERROR(RunEpoch(observer));
      CONVD_RETURN_IF_ERROR(Checkpoint(observer));
    }
    return RestoreBest();
  }

  bool keeps_best() const { return stopping_ && stopping_->restores_best(); }
  // As often as asked: the best epoch stays what it was.
  absl::Status RestoreBest() {
    if (!keeps_best() || stopping_->best_epoch() == static_cast<int64_t>(history_.size()))
      return absl::OkStatus();
    serving_.Set(best_validation_, best_quantization_);
    CONVD_RETURN_IF_ERROR(plan_->Pack(best_weights_, weights_.data()));
    return DeriveWeights();
  }

  // From where the epoch is to its end.
  absl::Status RunEpoch(TrainingObserver& observer) {
    const uint32_t count = static_cast<uint32_t>(data_.train.count);
    if (seen_ < count) {
      std::vector<uint32_t> order;
      if (request_.shuffle()) {
        order = ShuffledOrder(request_.seed(), static_cast<uint32_t>(epoch_), count);
      } else {
        order.resize(count);
        std::iota(order.begin(), order.end(), 0u);
      }
      while (seen_ < count) CONVD_RETURN_IF_ERROR(Steps(order, observer));
    }
    v1::EpochRecord record;
    record.set_epoch(epoch_);
    record.set_loss(loss_sum_ / seen_);
    record.set_accuracy(static_cast<double>(correct_) / seen_);
    record.set_images_per_second(training_seconds_ > 0 ? seen_ / training_seconds_ : 0);
    if (data_.validation.count > 0) {
      observer.OnProgress(Where(true));
      CONVD_RETURN_IF_ERROR(Validate(observer));
      record.set_val_loss(validation().loss());
      record.set_val_accuracy(validation().accuracy());
    }
    CountTime();
    record.set_seconds(std::exchange(epoch_seconds_, 0));
    seconds_done_ += record.seconds();
    history_.push_back(record);
    if (stopping_ && stopping_->Add(record) && keeps_best()) {
      best_weights_ = parameters();
      CONVD_RETURN_IF_ERROR(unpacked_);
      best_validation_ = validation();
      best_quantization_ = quantization();
    }
    training_seconds_ = loss_sum_ = 0;
    correct_ = seen_ = 0;
    observer.OnEpoch(record);
    return absl::OkStatus();
  }

  // The epoch's optimizer updates, each in two stages: the gradients of a batch's micro-batches and
  // their sum; the optimizer, and the weights that backward wants. To the end of `order`, the whole
  // epoch's, or to a checkpoint.
  absl::Status Steps(absl::Span<const uint32_t> order, TrainingObserver& observer) {
    absl::Span<const uint32_t> batch;
    bool optimizing = true, checkpoint = false;
    absl::Status status;
    const auto stage = [&]() -> int64_t {
      optimizing = !optimizing;
      if (optimizing) {
        status = EndGradients(batch.size());
        if (!status.ok()) return 0;
        if (optimizer_->shards() > 0) return optimizer_->shards();
        optimizing = false;  // a network without weights
      }
      if (!batch.empty()) {
        status = EndStep();
        if (!status.ok()) return 0;
        observer.OnProgress(Where(false));
        checkpoint = observer.WantsCheckpoint();
        if (checkpoint) return 0;
      }
      batch = order.subspan(seen_, request_.batch_size());  // or what is left
      return BeginStep(batch);
    };
    // Neither this nor a body may throw: on a worker's thread nothing catches it.
    const auto next_stage = [&]() -> int64_t {
      int64_t tasks = 0;
      status.Update(CatchOutOfMemory([&] {
        tasks = stage();
        return absl::OkStatus();
      }));
      return status.ok() ? tasks : 0;
    };
    const auto at_cut = [&] {
      executor_.Cut();
      return !observer.Cancelled();
    };
    executor_.ForEachInStages(Lane::kTrain, next_stage, [&](int64_t i) {
      if (optimizing) {
        Note(optimizer_->StepShard(i));
      } else {
        // Of the step after this one, which another micro-batch will want.
        const size_t ahead = seen_ + batch.size() + static_cast<size_t>(i * plan_->images());
        if (ahead < order.size()) {
          PrefetchImages(data_.train, order.subspan(ahead, static_cast<size_t>(plan_->images())));
        }
        Note(CatchOutOfMemory([&] { return RunMicroBatch(i, batches_[i], at_cut); }));
      }
    });
    CountTime();
    training_seconds_ = epoch_seconds_;
    CONVD_RETURN_IF_ERROR(status);
    return checkpoint ? Checkpoint(observer) : absl::OkStatus();
  }

  // How many micro-batches `samples` are.
  int64_t BeginStep(absl::Span<const uint32_t> samples) {
    const int64_t images = plan_->images(), count = static_cast<int64_t>(samples.size());
    batches_.assign((count + images - 1) / images, MicroBatch());
    for (int64_t begin = 0; begin < count; begin += images) {
      MicroBatch& batch = batches_[begin / images];
      batch.images = &data_.train;
      batch.samples = samples.subspan(begin, std::min(images, count - begin));
      batch.loss_scale = 1.0f / static_cast<float>(count);
      batch.seed = request_.seed();
      batch.epoch = static_cast<uint32_t>(epoch_);
    }
    if (count > 0) sum_->Begin(static_cast<int64_t>(batches_.size()));
    return static_cast<int64_t>(batches_.size());
  }

  // The loss of the step's `samples`, and what the optimizer needs.
  absl::Status EndGradients(size_t samples) {
    CONVD_RETURN_IF_ERROR(TakeError());
    double loss = 0;
    for (const MicroBatch& batch : batches_) {
      loss += batch.loss_sum;
      correct_ += batch.correct;
    }
    seen_ += static_cast<int64_t>(samples);
    if (!std::isfinite(loss)) return Diverged(absl::StrCat("the loss is ", loss), steps_done());
    loss_sum_ += loss;
    optimizer_->BeginStep();
    return absl::OkStatus();
  }

  absl::Status EndStep() {
    // Not left to the next step's loss: there may be none, and a ReLU may hide a NaN from it.
    if (!optimizer_->finite()) {
      return Diverged("the weights are not finite any more", steps_done());
    }
    return TakeError();
  }

  // `step` of this epoch, from 1; 0: after the last of them.
  absl::Status Diverged(absl::string_view found, int64_t step) const {
    return absl::DataLossError(
        absl::StrCat(found, " at epoch ", epoch_, step > 0 ? absl::StrCat(", step ", step) : "",
                     ": training diverged; a smaller learning rate may help"));
  }

  absl::Status DivergedWhereDataLoss(const absl::Status& status) const {
    return absl::IsDataLoss(status) ? Diverged(status.message(), 0) : status;
  }

  absl::Status RunMicroBatch(int64_t leaf, MicroBatch& batch, absl::FunctionRef<bool()> at_cut) {
    if (!at_cut()) return absl::CancelledError("cancelled");
    CONVD_ASSIGN_OR_RETURN(std::unique_ptr<Workspace> workspace, TakeWorkspace(at_cut));
    const auto cut = [&] { executor_.Cut(); };
    batch.gradient = sum_->NewLeaf(cut);
    absl::Status status;
    for (int phase = 0; phase < plan_->phases() && status.ok(); ++phase) {
      status = plan_->RunPhase(phase, *workspace, batch, at_cut);
    }
    if (status.ok()) {
      sum_->Add(leaf, batch.gradient, cut);
    } else {
      sum_->Drop(batch.gradient);
    }
    absl::MutexLock lock(&mutex_);
    idle_.push_back(std::move(workspace));
    return status;
  }

  absl::Status DeriveWeights() {
    executor_.ForEach(Lane::kTrain, plan_->derive_parts(), [&](int64_t i) {
      Note(plan_->Derive(static_cast<int>(i), weights_.data(), derived_.data()));
    });
    return TakeError();
  }

  absl::Status Validate(TrainingObserver& observer) {
    const std::vector<float> current = parameters();
    CONVD_RETURN_IF_ERROR(unpacked_);
    return DivergedWhereDataLoss(serving_.Validate(current, [&] { return observer.Cancelled(); }));
  }

  TrainingProgress Where(bool validating) const {
    TrainingProgress p;
    p.epoch = epoch_;
    p.epochs = request_.epochs();
    p.steps = steps();
    p.step = steps_done();
    p.loss = loss_sum_ / seen_;
    p.accuracy = static_cast<double>(correct_) / seen_;
    const double seconds = EpochSeconds();
    const double training = validating ? training_seconds_ : seconds;
    if (training > 0) p.images_per_second = seen_ / training;
    // Finished epochs say what validation costs; before there are any, training alone does.
    const double an_epoch =
        epoch_ > 1 ? seconds_done_ / (epoch_ - 1) : seconds * data_.train.count / seen_;
    p.seconds_left = std::max(0.0, an_epoch * (p.epochs - epoch_ + 1) - seconds);
    p.validating = validating;
    return p;
  }

  absl::StatusOr<std::unique_ptr<Workspace>> TakeWorkspace(absl::FunctionRef<bool()> at_cut) {
    {
      absl::MutexLock lock(&mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<Workspace> workspace = std::move(idle_.back());
        idle_.pop_back();
        return workspace;
      }
    }
    return plan_->NewWorkspace(weights_.data(), derived_.data(), at_cut);
  }

  void Note(const absl::Status& status) {
    if (status.ok()) return;
    absl::MutexLock lock(&mutex_);
    error_.Update(status);
  }
  absl::Status TakeError() {
    absl::MutexLock lock(&mutex_);
    return std::exchange(error_, absl::OkStatus());
  }

  const Graph graph_;
  const v1::TrainRequest request_;
  const TrainingData data_;
  Executor& executor_;
  const Clock& clock_;

  std::shared_ptr<const Plan> plan_;
  AlignedBuffer weights_, derived_;  // packed, as the plan has them
  std::unique_ptr<GradientSum> sum_;
  std::optional<Optimizer> optimizer_;
  std::vector<MicroBatch> batches_;  // of the step

  mutable absl::Status unpacked_;

  // Where the run is, with history_ and the optimizer's steps. Changes by whole steps, and by whole
  // epochs with their validation: whatever is cancelled in between leaves all of it alone.
  int64_t epoch_ = 0;               // the running one, from 1; between two, the first
  int64_t correct_ = 0, seen_ = 0;  // of this epoch
  double loss_sum_ = 0;
  // Of this epoch, as far as counted, and in it until the last step; of those before.
  double epoch_seconds_ = 0, training_seconds_ = 0, seconds_done_ = 0;
  absl::Duration running_since_;  // what isn't counted yet
  std::vector<v1::EpochRecord> history_;
  ServingEvaluation serving_;
  std::optional<EarlyStopping> stopping_;
  // Of the best epoch, where that is to be restored:
  std::vector<float> best_weights_;
  v1::Metrics best_validation_;
  v1::Quantization best_quantization_;

  absl::Mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> idle_ ABSL_GUARDED_BY(mutex_);
  absl::Status error_ ABSL_GUARDED_BY(mutex_);  // the first of a step's
};

}  // namespace

absl::StatusOr<std::unique_ptr<Trainer>> Trainer::Create(const Graph& graph,
                                                         const v1::TrainRequest& request,
                                                         TrainingData data, Executor& executor,
                                                         const Clock& clock,
                                                         absl::Span<const float> initial) {
  CONVD_RETURN_IF_ERROR(CheckTrainingData(data, graph));
  if (!initial.empty()) CONVD_RETURN_IF_ERROR(CheckInitialWeights(initial, graph));
  v1::TrainRequest resolved = request;
  CONVD_RETURN_IF_ERROR(ResolveEarlyStopping(resolved, data.validation.count > 0));
  try {
    auto trainer = std::make_unique<PlanTrainer>(graph, resolved, std::move(data), executor, clock);
    CONVD_RETURN_IF_ERROR(trainer->Build(initial));
    return std::unique_ptr<Trainer>(std::move(trainer));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory for the network's weights and gradients");
  }
}

}  // namespace convd
