#include "server/jobs/job_run.h"

namespace convd {

JobRun::JobRun(std::string id, ResolvedJob job, JobStore& store, const Clock& clock,
               absl::Duration progress_interval, std::function<void()> wake)
    : id_(std::move(id)),
      job_(std::move(job)),
      store_(store),
      clock_(clock),
      progress_interval_(progress_interval),
      wake_(std::move(wake)) {}

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
  if (absl::Status kept = store_.AppendEpoch(id_, record); !kept.ok()) {
    absl::MutexLock lock(&mu_);
    store_error_ = std::move(kept);
    store_failed_ = true;
    return;
  }
  wake_();
}

}  // namespace convd
