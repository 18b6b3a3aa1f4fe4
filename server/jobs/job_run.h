#ifndef CONVD_SERVER_JOBS_JOB_RUN_H_
#define CONVD_SERVER_JOBS_JOB_RUN_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "convd/v1/checkpoint.pb.h"
#include "convd/v1/jobs.pb.h"
#include "core/time/clock.h"
#include "core/train/trainer.h"
#include "server/jobs/checkpoints.h"
#include "server/jobs/store.h"
#include "server/memory_ledger.h"

namespace convd {

// When a running job is saved.
struct CheckpointPolicy {
  // Within an epoch; at its end it is saved, too.
  absl::Duration interval = absl::Seconds(30);
  // But neither so often that saving would take more than this share of the time.
  double max_share = 0.02;
};

// A job while it runs: the trainer's observer, and where others read progress and ask for the end.
// Any thread may call, unless said otherwise.
class JobRun final : public TrainingObserver {
 public:
  // `begun` is the job as it was written down when it began to run. `header` is what its
  // checkpoints say of this attempt. `wake` is called when watchers have something to see: by the
  // thread that runs the job or by a worker, one at a time.
  JobRun(JobRecord begun, v1::CheckpointHeader header, JobStore& store, JobCheckpoints& checkpoints,
         const Clock& clock, CheckpointPolicy policy, absl::Duration progress_interval,
         std::function<void()> wake);

  const std::string& id() const { return begun_.job.id(); }
  const JobRecord& begun() const { return begun_; }

  // Why it is to end, by rising rank: the highest counts.
  enum class Wish { kNone, kStop, kPause, kTimeout, kCancel };
  void Ask(Wish wish);
  Wish wish() const { return wish_.load(); }
  // What the store said when it could not keep an epoch's record; ends the run.
  absl::Status store_error() const;

  struct Latest {
    v1::Progress progress;
    uint64_t count = 0;  // of progress reports so far
  };
  Latest latest() const;

  // A checkpoint was written since this attempt began.
  bool saved() const { return saved_.load(); }

  // Of the thread that runs the job. `seconds` is what the job had run when it was saved last.
  void SetSecondsBefore(double seconds);
  // In all, over its attempts.
  double Seconds() const;
  absl::Status WriteCheckpoint(const Trainer& trainer);
  // What a checkpoint knows and the store doesn't, as where the server ended between the two.
  absl::Status PutMissingEpochs(const std::vector<v1::EpochRecord>& history);

  // TrainingObserver
  void OnProgress(const TrainingProgress& progress) override;
  void OnEpoch(const v1::EpochRecord& record) override;
  bool Cancelled() const override;
  bool WantsCheckpoint() override;
  absl::Status OnCheckpoint(const Trainer& trainer) override;

  // Set under the runner's lock, once, by the thread that runs the job.
  bool publishing = false;
  // Given back when it is trained. Set before others know of the run, then the running thread's.
  MemoryLedger::Share memory;
  bool has_memory = true;  // false where what it takes couldn't be found out

 private:
  const JobRecord begun_;
  const v1::CheckpointHeader header_;
  JobStore& store_;
  JobCheckpoints& checkpoints_;
  const Clock& clock_;
  const CheckpointPolicy policy_;
  const absl::Duration progress_interval_;
  const std::function<void()> wake_;
  const absl::Duration began_;
  double seconds_before_ = 0;                           // set before the trainer runs
  absl::Duration deadline_ = absl::InfiniteDuration();  // likewise

  mutable std::atomic<Wish> wish_{Wish::kNone};
  std::atomic<bool> store_failed_{false};
  std::atomic<bool> saved_{false};
  // By whoever ends a step, and the job's thread between steps.
  bool wanted_ = false;
  absl::Duration last_saved_;
  absl::Duration not_before_;

  mutable absl::Mutex mu_;
  Latest latest_ ABSL_GUARDED_BY(mu_);
  absl::Duration last_wake_ ABSL_GUARDED_BY(mu_) = -absl::InfiniteDuration();
  absl::Status store_error_ ABSL_GUARDED_BY(mu_);
};

}  // namespace convd

#endif  // CONVD_SERVER_JOBS_JOB_RUN_H_
