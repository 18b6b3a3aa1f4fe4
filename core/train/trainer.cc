#include "core/train/trainer.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "core/data/finite.h"
#include "core/dnn/aligned_buffer.h"
#include "core/dnn/calibration.h"
#include "core/dnn/inference_model.h"
#include "core/dnn/plan.h"
#include "core/dnn/precision.h"
#include "core/eval/evaluate.h"
#include "core/nn/initial_parameters.h"
#include "core/random/random.h"
#include "core/status/status_macros.h"
#include "core/train/gradient_sum.h"
#include "core/train/optimizer.h"

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

absl::Status CheckImages(const char* what, const ImageSet& images, const Graph& graph) {
  const Shape want = graph.input();
  if (images.height != want.height || images.width != want.width ||
      images.channels != want.channels) {
    return absl::InvalidArgumentError(absl::StrCat(
        what, ": images are ", images.height, "x", images.width, "x", images.channels, "; network ",
        graph.name(), " takes ", want.height, "x", want.width, "x", want.channels));
  }
  if (static_cast<int64_t>(images.labels.size()) != images.count || images.count > UINT32_MAX) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": ", images.labels.size(), " labels for ", images.count, " images"));
  }
  for (int64_t i = 0; i < images.count; ++i) {
    if (images.labels[i] < 0 || images.labels[i] >= graph.classes()) {
      return absl::InvalidArgumentError(absl::StrCat(
          what, ": label ", images.labels[i], " of sample ", i, "; network ", graph.name(), " has ",
          graph.classes(), " outputs, so labels go from 0 to ", graph.classes() - 1));
    }
  }
  return CheckFinite(what, images);
}

class PlanTrainer : public Trainer {
 public:
  PlanTrainer(const Graph& graph, const v1::TrainRequest& request, TrainingData data,
              Executor& executor, const Clock& clock)
      : graph_(graph),
        request_(request),
        data_(std::move(data)),
        executor_(executor),
        clock_(clock) {}

  absl::Status Build() {
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
    optimizer_.emplace(plan_, request_.optimizer(), weights_.data(), derived_.data(), *sum_);
    CONVD_RETURN_IF_ERROR(plan_->Pack(InitialParameters(graph_, request_.seed()), weights_.data()));
    return DeriveWeights();
  }

  absl::Status Run(TrainingObserver& observer) override {
    while (epoch_ < request_.epochs()) {
      ++epoch_;
      CONVD_RETURN_IF_ERROR(RunEpoch(observer));
    }
    return absl::OkStatus();
  }

  absl::Status PrepareServing(TrainingObserver& observer) override {
    {
      // No step comes any more: make room for what predicts.
      absl::MutexLock lock(&mutex_);
      idle_.clear();
    }
    const std::vector<float> current = parameters();
    CONVD_RETURN_IF_ERROR(unpacked_);
    // For int8 the last validation has calibrated these very weights.
    const bool serves_int8 = request_.serving_precision() == v1::PRECISION_INT8;
    if (!serves_int8 || !calibrated()) {
      const absl::Status status = CalibrateAgain(current, observer);
      // A trained version isn't lost for what it may do without.
      if (serves_int8 || absl::IsCancelled(status)) CONVD_RETURN_IF_ERROR(status);
      if (!status.ok()) {
        warnings_.push_back(
            absl::StrCat("it can't be served at int8, since it could not be "
                         "calibrated: ",
                         status.message()));
      }
    }
    served_.clear();
    if (data_.validation.count == 0) return absl::OkStatus();
    for (const v1::Precision precision : kPrecisions) {
      if (!CheckPrecision("precision", precision).ok()) continue;
      if (precision == v1::PRECISION_INT8 && !calibrated()) continue;
      const bool validated = precision == request_.serving_precision() && validation_.samples() > 0;
      const absl::StatusOr<v1::Metrics> metrics =
          validated ? validation_ : EvaluateAt(precision, current, observer);
      if (absl::IsCancelled(metrics.status())) return metrics.status();
      if (!metrics.ok() || !std::isfinite(metrics->loss())) {
        const std::string_view name = PrecisionName(precision);
        warnings_.push_back(absl::StrCat(
            "its accuracy at ", absl::string_view(name.data(), name.size()),
            " is left out: ", metrics.ok() ? "the loss isn't finite" : metrics.status().message()));
        continue;
      }
      v1::ServedAccuracy& served = served_.emplace_back();
      served.set_precision(precision);
      served.set_samples(metrics->samples());
      served.set_loss(metrics->loss());
      served.set_accuracy(metrics->accuracy());
    }
    return absl::OkStatus();
  }

  std::vector<float> parameters() const override {
    std::vector<float> canonical(graph_.parameter_count());
    unpacked_ = plan_->Unpack(weights_.data(), absl::MakeSpan(canonical));
    return canonical;
  }

  const std::vector<v1::EpochRecord>& history() const override { return history_; }
  const v1::Metrics& validation() const override { return validation_; }
  const v1::Quantization& quantization() const override { return quantization_; }
  const std::vector<v1::ServedAccuracy>& served() const override { return served_; }
  const std::vector<std::string>& warnings() const override { return warnings_; }

 private:
  int64_t steps() const {
    return (data_.train.count + request_.batch_size() - 1) / request_.batch_size();
  }

  // Of this epoch.
  int64_t steps_done() const { return (seen_ + request_.batch_size() - 1) / request_.batch_size(); }

  absl::Status RunEpoch(TrainingObserver& observer) {
    const absl::Duration start = clock_.Monotonic();
    const uint32_t count = static_cast<uint32_t>(data_.train.count);
    std::vector<uint32_t> order;
    if (request_.shuffle()) {
      order = ShuffledOrder(request_.seed(), static_cast<uint32_t>(epoch_), count);
    } else {
      order.resize(count);
      std::iota(order.begin(), order.end(), 0u);
    }
    loss_sum_ = 0;
    correct_ = 0;
    seen_ = 0;
    CONVD_RETURN_IF_ERROR(Steps(order, start, observer));
    const double seconds = absl::ToDoubleSeconds(clock_.Monotonic() - start);
    v1::EpochRecord record;
    record.set_epoch(epoch_);
    record.set_loss(loss_sum_ / seen_);
    record.set_accuracy(static_cast<double>(correct_) / seen_);
    record.set_images_per_second(seconds > 0 ? seen_ / seconds : 0);
    if (data_.validation.count > 0) {
      observer.OnProgress(Where(start, true));
      CONVD_RETURN_IF_ERROR(Validate(observer));
      record.set_val_loss(validation_.loss());
      record.set_val_accuracy(validation_.accuracy());
    }
    record.set_seconds(absl::ToDoubleSeconds(clock_.Monotonic() - start));
    seconds_done_ += record.seconds();
    history_.push_back(record);
    observer.OnEpoch(record);
    return absl::OkStatus();
  }

  // The epoch's optimizer updates, each in two stages: the gradients of a batch's micro-batches and
  // their sum; the optimizer, and the weights that backward wants.
  absl::Status Steps(absl::Span<const uint32_t> order, absl::Duration start,
                     TrainingObserver& observer) {
    absl::Span<const uint32_t> batch;
    bool optimizing = true;
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
        observer.OnProgress(Where(start, false));
      }
      batch = order.subspan(0, std::min<size_t>(request_.batch_size(), order.size()));
      order.remove_prefix(batch.size());
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
        Note(CatchOutOfMemory([&] { return RunMicroBatch(i, batches_[i], at_cut); }));
      }
    });
    return status;
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

  absl::Status RunMicroBatch(int64_t leaf, MicroBatch& batch, absl::FunctionRef<bool()> at_cut) {
    if (!at_cut()) return absl::CancelledError("cancelled");
    CONVD_ASSIGN_OR_RETURN(std::unique_ptr<Workspace> workspace, TakeWorkspace(at_cut));
    batch.gradient = sum_->NewLeaf();
    absl::Status status;
    for (int phase = 0; phase < plan_->phases() && status.ok(); ++phase) {
      status = plan_->RunPhase(phase, *workspace, batch, at_cut);
    }
    if (status.ok()) {
      sum_->Add(leaf, batch.gradient);
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

  // The serving plan at the serving precision: what Evaluate and Predict will answer.
  absl::Status Validate(TrainingObserver& observer) {
    const std::vector<float> current = parameters();
    CONVD_RETURN_IF_ERROR(unpacked_);
    if (request_.serving_precision() == v1::PRECISION_INT8) {
      CONVD_RETURN_IF_ERROR(CalibrateAgain(current, observer));
    }
    CONVD_ASSIGN_OR_RETURN(validation_,
                           EvaluateAt(request_.serving_precision(), current, observer));
    // Weights may be finite and too large all the same.
    if (!std::isfinite(validation_.loss())) {
      return Diverged(absl::StrCat("the validation loss is ", validation_.loss()), 0);
    }
    return absl::OkStatus();
  }

  absl::Status CalibrateAgain(absl::Span<const float> current, TrainingObserver& observer) {
    quantization_.Clear();
    absl::StatusOr<v1::Quantization> made =
        Calibrate(graph_, current, data_.train, executor_, Lane::kTrain,
                  [&] { return observer.Cancelled(); });
    if (absl::IsDataLoss(made.status())) return Diverged(made.status().message(), 0);
    CONVD_RETURN_IF_ERROR(made.status());
    quantization_ = *std::move(made);
    return absl::OkStatus();
  }
  bool calibrated() const { return quantization_.samples() > 0; }

  absl::StatusOr<v1::Metrics> EvaluateAt(v1::Precision precision, absl::Span<const float> current,
                                         TrainingObserver& observer) {
    CONVD_ASSIGN_OR_RETURN(
        const std::shared_ptr<const InferenceModel> model,
        CompileInferenceModel(graph_, current,
                              {.precision = precision, .quantization = &quantization_}));
    return Evaluate(*model, data_.validation, data_.labels, executor_, Lane::kTrain,
                    [&] { return observer.Cancelled(); });
  }

  TrainingProgress Where(absl::Duration start, bool validating) const {
    TrainingProgress p;
    p.epoch = epoch_;
    p.epochs = request_.epochs();
    p.steps = steps();
    p.step = steps_done();
    p.loss = loss_sum_ / seen_;
    p.accuracy = static_cast<double>(correct_) / seen_;
    const double seconds = absl::ToDoubleSeconds(clock_.Monotonic() - start);
    if (seconds > 0) p.images_per_second = seen_ / seconds;
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

  int64_t epoch_ = 0;  // the running one, from 1
  double loss_sum_ = 0;
  int64_t correct_ = 0, seen_ = 0;  // of this epoch
  double seconds_done_ = 0;
  std::vector<v1::EpochRecord> history_;
  v1::Metrics validation_;
  v1::Quantization quantization_;
  std::vector<v1::ServedAccuracy> served_;
  std::vector<std::string> warnings_;

  absl::Mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> idle_ ABSL_GUARDED_BY(mutex_);
  absl::Status error_ ABSL_GUARDED_BY(mutex_);  // the first of a step's
};

}  // namespace

absl::StatusOr<std::unique_ptr<Trainer>> Trainer::Create(const Graph& graph,
                                                         const v1::TrainRequest& request,
                                                         TrainingData data, Executor& executor,
                                                         const Clock& clock) {
  if (data.train.count == 0)
    return absl::InvalidArgumentError("dataset: there are no samples to train on");
  CONVD_RETURN_IF_ERROR(CheckImages("dataset", data.train, graph));
  if (data.validation.count > 0)
    CONVD_RETURN_IF_ERROR(CheckImages("validation", data.validation, graph));
  if (static_cast<int64_t>(data.labels.size()) != graph.classes()) {
    return absl::InvalidArgumentError(absl::StrCat("dataset: it has ", data.labels.size(),
                                                   " classes; network ", graph.name(), " has ",
                                                   graph.classes(), " outputs"));
  }
  try {
    auto trainer = std::make_unique<PlanTrainer>(graph, request, std::move(data), executor, clock);
    CONVD_RETURN_IF_ERROR(trainer->Build());
    return std::unique_ptr<Trainer>(std::move(trainer));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory for the network's weights and gradients");
  }
}

}  // namespace convd
