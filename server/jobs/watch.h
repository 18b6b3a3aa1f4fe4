#ifndef CONVD_SERVER_JOBS_WATCH_H_
#define CONVD_SERVER_JOBS_WATCH_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "convd/v1/jobs.pb.h"
#include "server/jobs/runner.h"

namespace convd {

// One reader's place in what happens to a job. Events are made when they are asked for, from the
// store and the run, and never queue up: of progress only the latest is there, of epoch records
// each one, in order. One thread at a time; the runner outlives it.
class JobWatch {
 public:
  // `wake` says that Next may have more, on any thread and without locks; it returns quickly, and
  // may be called needlessly, before Open returns, and once more after the watch is gone. NOT_FOUND
  // names the id; INVALID_ARGUMENT for a negative `after_epoch`; RESOURCE_EXHAUSTED where too many
  // watch; UNAVAILABLE once the server ends watches.
  static absl::StatusOr<std::unique_ptr<JobWatch>> Open(JobRunner& runner, const std::string& id,
                                                        int64_t after_epoch,
                                                        std::function<void()> wake);

  enum class Step { kEvent, kNothingYet, kEnd };

  // The job first; then, in the order in which they happened, changes of state, place and what is
  // waited for, epoch records after `after_epoch`, the latest progress; the ended job last. A job
  // that has ended already is one event.
  Step Next(v1::JobEvent& event);
  // Why there is no more, after kEnd: OK where the job has ended, UNAVAILABLE where the server
  // stops, NOT_FOUND where the job was forgotten meanwhile.
  const absl::Status& end() const { return end_; }

 private:
  JobWatch(JobRunner& runner, std::string id, int64_t after_epoch)
      : runner_(runner), id_(std::move(id)), last_epoch_(after_epoch) {}

  absl::StatusOr<Step> TryNext(v1::JobEvent& event);
  Step ShowJob(v1::Job job, v1::JobEvent& event);
  // The job as it is by now, which was in the state `seen` a moment ago.
  absl::StatusOr<Step> ShowNow(v1::JobState seen, v1::JobEvent& event);

  JobRunner& runner_;
  const std::string id_;
  std::shared_ptr<void> registration_;

  bool begun_ = false;
  bool ended_ = false;
  v1::JobState state_ = v1::JOB_STATE_UNSPECIFIED;
  int64_t queue_position_ = 0;
  std::string waiting_for_;
  int64_t last_epoch_;
  uint64_t progress_count_ = 0;
  absl::Status end_;
};

}  // namespace convd

#endif  // CONVD_SERVER_JOBS_WATCH_H_
