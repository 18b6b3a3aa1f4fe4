#include "client/watched_job.h"

namespace convd {

bool HasEnded(v1::JobState state) {
  return state == v1::JOB_STATE_SUCCEEDED || state == v1::JOB_STATE_FAILED ||
         state == v1::JOB_STATE_CANCELLED;
}

void WatchedJob::TakeEpoch(const v1::EpochRecord& record,
                           absl::FunctionRef<void(const v1::JobEvent&)> on_event) {
  if (record.epoch() <= last_epoch_) return;
  last_epoch_ = record.epoch();
  v1::JobEvent event;
  *event.mutable_epoch() = record;
  on_event(event);
}

bool WatchedJob::HasNewEpochs(const v1::Job& job) const {
  return job.history_size() > 0 && job.history(job.history_size() - 1).epoch() > last_epoch_;
}

void WatchedJob::Take(const v1::JobEvent& event,
                      absl::FunctionRef<void(const v1::JobEvent&)> on_event) {
  if (ended()) return;
  switch (event.event_case()) {
    case v1::JobEvent::kJob: {
      // The first of a new stream says again what the watcher knows. Between two streams the
      // server may have ended, and the job run on in another attempt.
      const bool same = begun_ && event.job().state() == job_.state() &&
                        event.job().queue_position() == job_.queue_position() &&
                        event.job().waiting_for() == job_.waiting_for() &&
                        event.job().attempts() == job_.attempts();
      // A job that has ended holds its whole history, so nothing can be missing behind it. Where
      // it is the first that the watcher hears of the job, it comes before its epochs as well.
      if (HasEnded(event.job().state())) {
        if (!begun_ && HasNewEpochs(event.job())) on_event(event);
        for (const v1::EpochRecord& record : event.job().history()) TakeEpoch(record, on_event);
      }
      begun_ = true;
      job_ = event.job();
      if (!same) on_event(event);
      break;
    }
    case v1::JobEvent::kEpoch:
      TakeEpoch(event.epoch(), on_event);
      break;
    case v1::JobEvent::kProgress:
      on_event(event);
      break;
    case v1::JobEvent::EVENT_NOT_SET:  // of a newer server
      break;
  }
}

}  // namespace convd
