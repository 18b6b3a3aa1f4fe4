#ifndef CONVD_SERVER_JOBS_JOB_RUN_H_
#define CONVD_SERVER_JOBS_JOB_RUN_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "convd/v1/jobs.pb.h"
#include "core/time/clock.h"
#include "core/train/trainer.h"
#include "server/jobs/resolve.h"
#include "server/jobs/store.h"

namespace convd {

// A job while it runs: the trainer's observer, and where others read progress and ask for the end.
// Any thread may call, unless said otherwise.
class JobRun final : public TrainingObserver {
 public:
  // `wake` is called when watchers have something to see: by the thread that runs the job or by a
  // worker, one at a time.
  JobRun(std::string id, ResolvedJob job, JobStore& store, const Clock& clock,
         absl::Duration progress_interval, std::function<void()> wake);

  const std::string& id() const { return id_; }
  // Of the thread that runs the job alone.
  ResolvedJob& job() { return job_; }

  void Cancel() { cancelled_ = true; }
  void Stop() { stopped_ = true; }
  bool cancelled() const { return cancelled_; }
  bool stopped() const { return stopped_; }
  // What the store said when it could not keep an epoch's record; ends the run.
  absl::Status store_error() const;

  struct Latest {
    v1::Progress progress;
    uint64_t count = 0;  // of progress reports so far
  };
  Latest latest() const;

  // TrainingObserver
  void OnProgress(const TrainingProgress& progress) override;
  void OnEpoch(const v1::EpochRecord& record) override;
  bool Cancelled() const override { return cancelled_ || stopped_ || store_failed_; }

  // Set under the runner's lock, once, by the thread that runs the job.
  bool publishing = false;

 private:
  const std::string id_;
  ResolvedJob job_;
  JobStore& store_;
  const Clock& clock_;
  const absl::Duration progress_interval_;
  const std::function<void()> wake_;

  std::atomic<bool> cancelled_{false};
  std::atomic<bool> stopped_{false};
  std::atomic<bool> store_failed_{false};

  mutable absl::Mutex mu_;
  Latest latest_ ABSL_GUARDED_BY(mu_);
  absl::Duration last_wake_ ABSL_GUARDED_BY(mu_) = -absl::InfiniteDuration();
  absl::Status store_error_ ABSL_GUARDED_BY(mu_);
};

}  // namespace convd

#endif  // CONVD_SERVER_JOBS_JOB_RUN_H_
