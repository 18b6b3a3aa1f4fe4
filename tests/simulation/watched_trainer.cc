#include "tests/simulation/watched_trainer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

// Epochs have fewer steps than this.
constexpr int64_t kEpoch = 1000;

class WatchedTrainer final : public Trainer {
 public:
  WatchedTrainer(std::unique_ptr<Trainer> inner, Runs& runs, std::function<void()> between_steps,
                 std::function<void(const std::string&)> fault)
      : inner_(std::move(inner)),
        runs_(runs),
        id_(runs.running()),
        between_steps_(std::move(between_steps)),
        fault_(std::move(fault)) {}

  absl::Status Run(TrainingObserver& observer) override;

  absl::Status Save(absl::FunctionRef<absl::Status(std::string_view)> sink) const override {
    save_called_ = true;
    return inner_->Save(sink);
  }
  absl::Status Restore(std::string_view saved) override {
    restored_ = true;
    runs_.CountResumed();
    return inner_->Restore(saved);
  }
  absl::Status PrepareServing(TrainingObserver& observer) override {
    return inner_->PrepareServing(observer);
  }
  std::vector<float> parameters() const override { return inner_->parameters(); }
  const std::vector<v1::EpochRecord>& history() const override { return inner_->history(); }
  const v1::Metrics& validation() const override { return inner_->validation(); }
  const v1::Quantization& quantization() const override { return inner_->quantization(); }
  const std::vector<v1::ServedAccuracy>& served() const override { return inner_->served(); }
  const std::vector<std::string>& warnings() const override { return inner_->warnings(); }

 private:
  class Observer;

  const std::unique_ptr<Trainer> inner_;
  Runs& runs_;
  const std::string id_;
  const std::function<void()> between_steps_;
  const std::function<void(const std::string&)> fault_;
  bool restored_ = false;
  mutable bool save_called_ = false;
};

class WatchedTrainer::Observer final : public TrainingObserver {
 public:
  Observer(WatchedTrainer& trainer, TrainingObserver& inner) : trainer_(trainer), inner_(inner) {
    position_ = static_cast<int64_t>(trainer.history().size()) * kEpoch;
  }

  void OnProgress(const TrainingProgress& progress) override {
    if (!progress.validating) {
      position_ = (progress.epoch - 1) * kEpoch + progress.step;
      const int64_t saved = trainer_.runs_.Of(trainer_.id_).saved;
      if (std::exchange(first_, false) && position_ <= saved) {
        trainer_.fault_(
            absl::StrCat(trainer_.id_, " was saved at ", saved, ", and began before ", position_));
      }
    }
    inner_.OnProgress(progress);
    trainer_.between_steps_();
  }
  void OnEpoch(const v1::EpochRecord& record) override {
    position_ = record.epoch() * kEpoch;
    inner_.OnEpoch(record);
  }
  bool Cancelled() const override { return inner_.Cancelled(); }
  bool WantsCheckpoint() override { return inner_.WantsCheckpoint(); }
  absl::Status OnCheckpoint(const Trainer&) override {
    trainer_.save_called_ = false;
    CONVD_RETURN_IF_ERROR(inner_.OnCheckpoint(trainer_));
    if (!trainer_.save_called_) return absl::OkStatus();
    trainer_.runs_.Of(trainer_.id_).saved = position_;
    trainer_.runs_.Of(trainer_.id_).deaths = 0;
    return absl::OkStatus();
  }

 private:
  WatchedTrainer& trainer_;
  TrainingObserver& inner_;
  int64_t position_;
  bool first_ = true;
};

absl::Status WatchedTrainer::Run(TrainingObserver& observer) {
  if (!restored_ && runs_.Of(id_).saved > 0) {
    fault_(absl::StrCat(id_, " was saved at ", runs_.Of(id_).saved, ", and begins anew"));
  }
  Observer watched(*this, observer);
  return inner_->Run(watched);
}

}  // namespace

void Runs::OnChange(const v1::Job& job) {
  if (job.state() == v1::JOB_STATE_RUNNING) {
    running_ = job.id();
    stored_running_ = job.id();
    ++begun_;
  } else if (job.id() == stored_running_) {
    stored_running_.clear();
    const bool in_order =
        job.state() == v1::JOB_STATE_PAUSED || job.state() == v1::JOB_STATE_QUEUED;
    if (in_order) runs_[job.id()].deaths = 0;
  }
}

void Runs::End() { running_.clear(); }

void Runs::OnRestart() {
  running_.clear();
  if (!stored_running_.empty()) ++runs_[stored_running_].deaths;
  stored_running_.clear();
}

absl::StatusOr<std::unique_ptr<Trainer>> MakeWatchedTrainer(
    const Graph& graph, const v1::TrainRequest& request, TrainingData data, Executor& executor,
    const Clock& clock, Runs& runs, std::function<void()> between_steps,
    std::function<void(const std::string&)> fault) {
  CONVD_ASSIGN_OR_RETURN(std::unique_ptr<Trainer> inner,
                         Trainer::Create(graph, request, std::move(data), executor, clock));
  return std::make_unique<WatchedTrainer>(std::move(inner), runs, std::move(between_steps),
                                          std::move(fault));
}

}  // namespace convd
