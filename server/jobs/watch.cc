#include "server/jobs/watch.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"
#include "server/jobs/transitions.h"

namespace convd {
namespace {

absl::Status ServerStopping() {
  return absl::UnavailableError("the server is stopping; watch again when it is back");
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobWatch>> JobWatch::Open(JobRunner& runner, const std::string& id,
                                                         int64_t after_epoch,
                                                         std::function<void()> wake) {
  if (after_epoch < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "after_epoch: got ", after_epoch, "; want the last epoch seen, or 0 for all of them"));
  }
  std::unique_ptr<JobWatch> watch(new JobWatch(runner, id, after_epoch));
  // Before the first look, so that no change falls between the two.
  CONVD_ASSIGN_OR_RETURN(watch->registration_, runner.watchers_.Add(id, std::move(wake)));
  CONVD_ASSIGN_OR_RETURN(const JobRunner::View view, runner.Look(id));
  if (view.watches_ended) return ServerStopping();
  return watch;
}

JobWatch::Step JobWatch::Next(v1::JobEvent& event) {
  if (ended_) return Step::kEnd;
  absl::StatusOr<Step> step = TryNext(event);
  if (step.ok()) return *step;
  ended_ = true;
  end_ = step.status();
  return Step::kEnd;
}

JobWatch::Step JobWatch::ShowJob(v1::Job job, v1::JobEvent& event) {
  begun_ = true;
  state_ = job.state();
  queue_position_ = job.queue_position();
  waiting_for_ = job.waiting_for();
  ended_ = IsFinal(job.state());
  *event.mutable_job() = std::move(job);
  return Step::kEvent;
}

absl::StatusOr<JobWatch::Step> JobWatch::ShowNow(v1::JobState seen, v1::JobEvent& event) {
  CONVD_ASSIGN_OR_RETURN(v1::Job job, runner_.Get(id_));
  // It has ended since: then there may be records to show before that.
  if (IsFinal(job.state()) && !IsFinal(seen)) return TryNext(event);
  return ShowJob(std::move(job), event);
}

absl::StatusOr<JobWatch::Step> JobWatch::TryNext(v1::JobEvent& event) {
  event.Clear();
  // State and progress are read before the epochs: what they tell of comes after records that the
  // store had by then.
  CONVD_ASSIGN_OR_RETURN(JobRunner::View view, runner_.Look(id_));
  if (!begun_) {
    CONVD_ASSIGN_OR_RETURN(v1::Job job, runner_.Get(id_));
    progress_count_ = view.progress_count;
    return ShowJob(std::move(job), event);
  }
  // A job that begins is shown before its epochs; one that is paused or queued again, after them.
  const bool changed = view.state != state_ || view.queue_position != queue_position_ ||
                       view.waiting_for != waiting_for_;
  if (changed && view.state == v1::JOB_STATE_RUNNING) return ShowNow(view.state, event);
  CONVD_ASSIGN_OR_RETURN(std::vector<v1::EpochRecord> records,
                         runner_.store_.Epochs(id_, last_epoch_, 1));
  if (!records.empty()) {
    last_epoch_ = records[0].epoch();
    *event.mutable_epoch() = std::move(records[0]);
    return Step::kEvent;
  }
  if (changed) return ShowNow(view.state, event);
  if (view.progress_count != progress_count_) {
    progress_count_ = view.progress_count;
    *event.mutable_progress() = std::move(view.progress);
    return Step::kEvent;
  }
  if (view.watches_ended) return ServerStopping();
  return Step::kNothingYet;
}

}  // namespace convd
