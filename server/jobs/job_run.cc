#include "server/jobs/job_run.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"

namespace convd {

JobRun::JobRun(JobRecord begun, v1::CheckpointHeader header, JobStore& store,
               JobCheckpoints& checkpoints, const Clock& clock, CheckpointPolicy policy,
               absl::Duration progress_interval, std::function<void()> wake)
    : begun_(std::move(begun)),
      header_(std::move(header)),
      store_(store),
      checkpoints_(checkpoints),
      clock_(clock),
      policy_(policy),
      progress_interval_(progress_interval),
      wake_(std::move(wake)),
      began_(clock.Monotonic()),
      last_saved_(began_),
      not_before_(began_) {
  SetSecondsBefore(0);
}

void JobRun::Ask(Wish wish) {
  Wish now = wish_.load();
  while (now < wish && !wish_.compare_exchange_weak(now, wish)) {
  }
}

void JobRun::SetSecondsBefore(double seconds) {
  seconds_before_ = seconds;
  if (!begun_.job.request().has_max_runtime()) return;
  const google::protobuf::Duration& most = begun_.job.request().max_runtime();
  deadline_ = began_ + absl::Seconds(most.seconds()) + absl::Nanoseconds(most.nanos()) -
              absl::Seconds(seconds);
}

double JobRun::Seconds() const {
  return seconds_before_ + absl::ToDoubleSeconds(clock_.Monotonic() - began_);
}

bool JobRun::Cancelled() const {
  if (deadline_ != absl::InfiniteDuration() && clock_.Monotonic() >= deadline_) {
    Wish none = Wish::kNone;
    wish_.compare_exchange_strong(none, Wish::kTimeout);
  }
  return wish_.load() != Wish::kNone || store_failed_.load();
}

bool JobRun::WantsCheckpoint() {
  const absl::Duration now = clock_.Monotonic();
  wanted_ = now - last_saved_ >= policy_.interval && now >= not_before_;
  return wanted_;
}

absl::Status JobRun::OnCheckpoint(const Trainer& trainer) {
  // At an epoch's end nobody was asked.
  if (!std::exchange(wanted_, false) && clock_.Monotonic() < not_before_) return absl::OkStatus();
  return WriteCheckpoint(trainer);
}

absl::Status JobRun::WriteCheckpoint(const Trainer& trainer) {
  v1::CheckpointHeader header = header_;
  header.set_seconds(Seconds());
  const absl::Duration start = clock_.Monotonic();
  const absl::Status written =
      checkpoints_.Write(header, [&](JobCheckpoints::Sink sink) { return trainer.Save(sink); });
  last_saved_ = clock_.Monotonic();
  not_before_ = last_saved_ + (last_saved_ - start) * (1 / policy_.max_share - 1);
  if (written.ok()) {
    saved_ = true;
    return written;
  }
  return absl::Status(written.code(),
                      absl::StrCat("the checkpoint can't be written: ", written.message()));
}

absl::Status JobRun::PutMissingEpochs(const std::vector<v1::EpochRecord>& history) {
  CONVD_ASSIGN_OR_RETURN(const std::vector<v1::EpochRecord> kept, store_.Epochs(id(), 0, -1));
  for (size_t i = kept.size(); i < history.size(); ++i) {
    CONVD_RETURN_IF_ERROR(store_.PutEpoch(id(), history[i]));
  }
  return absl::OkStatus();
}

absl::Status JobRun::store_error() const {
  absl::MutexLock lock(&mu_);
  return store_error_;
}

JobRun::Latest JobRun::latest() const {
  absl::MutexLock lock(&mu_);
  return latest_;
}

void JobRun::OnProgress(const TrainingProgress& progress) {
  {
    absl::MutexLock lock(&mu_);
    v1::Progress& p = latest_.progress;
    // A new epoch or the validation's begin is worth a look at once.
    const bool turn = p.epoch() != progress.epoch || p.validating() != progress.validating;
    p.set_epoch(progress.epoch);
    p.set_epochs(progress.epochs);
    p.set_step(progress.step);
    p.set_steps(progress.steps);
    p.set_loss(progress.loss);
    p.set_accuracy(progress.accuracy);
    p.set_images_per_second(progress.images_per_second);
    p.set_seconds_left(progress.seconds_left);
    p.set_validating(progress.validating);
    ++latest_.count;
    const absl::Duration now = clock_.Monotonic();
    if (!turn && now - last_wake_ < progress_interval_) return;
    last_wake_ = now;
  }
  wake_();
}

void JobRun::OnEpoch(const v1::EpochRecord& record) {
  if (absl::Status kept = store_.PutEpoch(id(), record); !kept.ok()) {
    absl::MutexLock lock(&mu_);
    store_error_ = std::move(kept);
    store_failed_ = true;
    return;
  }
  wake_();
}

}  // namespace convd
