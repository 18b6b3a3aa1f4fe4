#ifndef CONVD_SERVER_JOBS_RUNNER_H_
#define CONVD_SERVER_JOBS_RUNNER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "convd/v1/jobs.pb.h"
#include "core/storage/file_system.h"
#include "core/time/clock.h"
#include "server/datasets/registry.h"
#include "server/jobs/checkpoints.h"
#include "server/jobs/job_run.h"
#include "server/jobs/resolve.h"
#include "server/jobs/store.h"
#include "server/jobs/train_job.h"
#include "server/jobs/waiting_line.h"
#include "server/jobs/watchers.h"
#include "server/memory_ledger.h"
#include "server/models/repository.h"

namespace convd {

struct JobRunnerOptions {
  // Each has a thread of its own. 0: none; RunOne() is called instead.
  int concurrent_jobs = 1;
  int64_t max_waiting = 10'000;  // QUEUED and PAUSED; more are refused with RESOURCE_EXHAUSTED
  int64_t max_watches = 4096;    // more are refused likewise
  // Watchers are woken for progress within an epoch this often at most.
  absl::Duration progress_interval = absl::Milliseconds(100);
  // Between attempts to write down a change that the store could not keep.
  absl::Duration retry_interval = absl::Seconds(1);
  CheckpointPolicy checkpoints;
  // OK where what is kept may grow by so many bytes, else RESOURCE_EXHAUSTED: then no job is
  // accepted or begun that needs them. Reads the disk; must not call the runner.
  TakeRoom take_room = [](int64_t) { return absl::OkStatus(); };
  // What a job takes while it runs; until there is that much it waits, and all behind it. Null: no
  // limit. Outlives the runner.
  MemoryLedger* memory = nullptr;
  // What every card and checkpoint says of this server.
  std::string instruction_set;
  std::map<std::string, std::string> library_versions;
  // For the log: each change of a job's state, one at a time, in the order in which they happened.
  // Called on any thread; must not call the runner. The job is as JobParts::kListed.
  std::function<void(const v1::Job&)> on_change = [](const v1::Job&) {};
  std::function<void(const std::string&)> on_warning = [](const std::string&) {};
};

// The queue, the threads that train, and what the outside may see of both. Every change of a job's
// state goes through the store first, under one lock, so that queue, threads and store never
// disagree; training itself holds no lock. Any thread may call; calls wait for the disk, so neither
// a worker nor an RPC callback's thread should, unless said otherwise. Store, repository, file
// system and clock outlive it.
class JobRunner {
 public:
  // Takes up what the store and the checkpoints in `state_dir` hold: jobs that were running are
  // queued again, before the others, unless they were asked to pause or cancel; leftovers of ended
  // ones are removed. Then starts the threads.
  static absl::StatusOr<std::unique_ptr<JobRunner>> Start(
      JobStore& store, ModelRepository& models, FileSystem& fs, const std::string& state_dir,
      JobResolver resolve, TrainerFactory make_trainer, const Clock& clock,
      JobRunnerOptions options);
  // Stop(), then waits for the running jobs' ends.
  ~JobRunner();

  // Queues the job and returns it. Where its request_id is that of an earlier job, that job is
  // returned instead, or ALREADY_EXISTS where it was asked for differently. RESOURCE_EXHAUSTED
  // where too many wait or the disk has no room for it, UNAVAILABLE once stopping.
  absl::StatusOr<v1::Job> Submit(ResolvedJob job);

  // The job that the very same request made before, by its request_id and SentSha256; nothing where
  // there is none, or where it was asked for in other words: Submit compares what they mean. Asked
  // before the request is resolved, since what it was resolved with may be gone.
  absl::StatusOr<std::optional<v1::Job>> FindSent(const std::string& request_id,
                                                  const std::string& sent_sha256);

  // ALREADY_EXISTS, naming the job, where one was made by a request of this id. Asked where a
  // request can't be resolved: with that id it would be another one anyway.
  absl::Status CheckUnsent(const std::string& request_id);

  absl::StatusOr<v1::Job> Get(const std::string& id, JobParts parts = JobParts::kWhole);
  // Newest first; see JobStore::List.
  absl::StatusOr<std::vector<v1::Job>> List(const std::string& before_id, int64_t limit);

  // What hasn't ended: how many jobs are in each state, and the running ones with their id, model
  // and progress.
  struct Overview {
    std::map<v1::JobState, int64_t> states;
    std::vector<v1::Job> running;
  };
  Overview overview();

  // As jobs.proto has them. What a running job is asked for is on disk when they return, so that it
  // comes to pass also where the server ends before the job comes to its next cut.
  absl::StatusOr<v1::Job> Cancel(const std::string& id);
  absl::StatusOr<v1::Job> Pause(const std::string& id);
  absl::StatusOr<v1::Job> Resume(const std::string& id, bool allow_different_bits);
  absl::StatusOr<v1::Job> SetPriority(const std::string& id, int32_t priority);

  // FAILED_PRECONDITION naming a job that hasn't ended and needs the dataset.
  absl::Status CheckUnused(const std::string& dataset);
  // The same of a job that begins with the version's weights.
  absl::Status CheckUnused(const v1::ModelVersion& version);

  // From now on no job is accepted or begun, and running ones end at their next cut, are saved and
  // queued again for the next start; one that is being published ends as it would have.
  void Stop();
  // True once no job runs any more; false after `timeout`.
  bool AwaitIdle(absl::Duration timeout);
  // Ends every watch with UNAVAILABLE once it has shown what there is.
  void EndWatches();
  // Calls `work` on a thread that may wait for the disk: the one that wakes watches. Returns at
  // once, on any thread.
  void Post(absl::AnyInvocable<void()> work) { watchers_.Post(std::move(work)); }

  // Begins the first job that waits and runs it to its end, its pause or the stop, on this thread;
  // false where none waits or the first can't begin yet, or stopping.
  bool RunOne();

 private:
  friend class JobWatch;

  // What a watcher compares with what it has shown.
  struct View {
    v1::JobState state = v1::JOB_STATE_UNSPECIFIED;
    int64_t queue_position = 0;
    std::string waiting_for;
    v1::Progress progress;
    uint64_t progress_count = 0;  // 0: none yet
    bool watches_ended = false;
  };

  JobRunner(JobStore& store, ModelRepository& models, FileSystem& fs, const std::string& state_dir,
            JobResolver resolve, TrainerFactory make_trainer, const Clock& clock,
            JobRunnerOptions options);
  absl::Status Recover();
  absl::Status RecoverRunning(LiveJob& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  void RunJobs();
  // Once until a job begins, for it is tried each second.
  void WarnOfNoBeginning(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);
  // Takes the first job that waits; null where there is none, where it has to wait for other jobs
  // or memory, or once stopping.
  absl::StatusOr<std::shared_ptr<JobRun>> Begin() ABSL_LOCKS_EXCLUDED(mu_);
  absl::StatusOr<std::shared_ptr<JobRun>> BeginFirst(JobRecord record,
                                                     std::optional<int64_t> memory_bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What keeps the first job from beginning; shown until it is another one, or the job begins.
  void Hold(const std::string& id, absl::string_view why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void WakeHeld() ABSL_LOCKS_EXCLUDED(mu_);
  // From here on a cancellation comes too late.
  absl::Status BeginPublishing(JobRun& run);
  void Run(JobRun& run);

  // Makes the change in the store, and in what is kept here of jobs that live.
  absl::Status Apply(const std::string& id, const JobChange& change)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status Apply(const std::string& id, v1::JobState state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Asks a running job for `wish`. FAILED_PRECONDITION where it is too late.
  absl::Status AskRunning(JobRun& run, JobRun::Wish wish, v1::JobState wished)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The state of a job, whether it lives or not.
  absl::StatusOr<v1::JobState> State(const std::string& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Calls `act`, under the lock, with the job's state, and tells of what it changed; the job after
  // that.
  absl::StatusOr<v1::Job> Act(const std::string& id,
                              absl::FunctionRef<absl::Status(v1::JobState)> act);

  void ShowLive(v1::Job& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  int64_t QueuePosition(const std::string& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::string WaitingFor(const std::string& id, int64_t position)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The job that this request made before; nothing where it is new.
  absl::StatusOr<std::optional<v1::Job>> FindRepeated(const ResolvedJob& asked)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<View> Look(const std::string& id);
  // As it is under the lock that the change was made under.
  v1::Job Listed(const std::string& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Tells on_change of all changes so far; whoever made one calls it once they hold no lock.
  void TellChanges() ABSL_LOCKS_EXCLUDED(tell_mu_, mu_);

  JobStore& store_;
  const Clock& clock_;
  const JobRunnerOptions options_;
  JobCheckpoints checkpoints_;
  const JobTraining training_;
  Watchers watchers_;

  // Held while on_change is told, so that the next change waits for its turn.
  absl::Mutex tell_mu_ ABSL_ACQUIRED_BEFORE(mu_);
  // Held while the store changes a job's state, never while a job trains or is published.
  absl::Mutex mu_;
  std::map<std::string, LiveJob> live_ ABSL_GUARDED_BY(mu_);  // all that haven't ended
  WaitingLine waiting_ ABSL_GUARDED_BY(mu_);                  // the QUEUED of them
  std::map<std::string, std::shared_ptr<JobRun>> running_ ABSL_GUARDED_BY(mu_);
  std::deque<v1::Job> untold_ ABSL_GUARDED_BY(mu_);  // changes, for on_change
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool watches_ended_ ABSL_GUARDED_BY(mu_) = false;
  bool told_of_no_beginning_ ABSL_GUARDED_BY(mu_) = false;
  struct Held {
    std::string id;
    std::string why;
    bool told = true;  // to who watches
  };
  Held held_ ABSL_GUARDED_BY(mu_);  // no id: none

  std::vector<std::thread> threads_;  // last: they use the rest
};

}  // namespace convd

#endif  // CONVD_SERVER_JOBS_RUNNER_H_
