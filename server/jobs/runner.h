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
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "convd/v1/jobs.pb.h"
#include "core/time/clock.h"
#include "core/train/trainer.h"
#include "server/jobs/resolve.h"
#include "server/jobs/store.h"
#include "server/jobs/watchers.h"
#include "server/models/repository.h"

namespace convd {

// Trainer::Create on the server's executor, or what a test puts in its place.
using TrainerFactory = std::function<absl::StatusOr<std::unique_ptr<Trainer>>(
    const Graph&, const v1::TrainRequest&, TrainingData)>;

struct JobRunnerOptions {
  int concurrent_jobs = 1;     // each has a thread of its own
  int64_t max_waiting = 1000;  // more are refused with RESOURCE_EXHAUSTED
  int64_t max_watches = 4096;  // more are refused likewise
  // Watchers are woken for progress within an epoch this often at most.
  absl::Duration progress_interval = absl::Milliseconds(100);
  // Between attempts to write down a change that the store could not keep.
  absl::Duration retry_interval = absl::Seconds(1);
  // What every card says of this server.
  std::string instruction_set;
  std::map<std::string, std::string> library_versions;
  // For the log: each change of a job's state, one at a time, in the order in which they happened.
  // Called on any thread; must not call the runner. The job is as JobParts::kListed.
  std::function<void(const v1::Job&)> on_change = [](const v1::Job&) {};
  std::function<void(const std::string&)> on_warning = [](const std::string&) {};
};

class JobRun;

// The queue, the threads that train, and what the outside may see of both. Every change of a job's
// state goes through the store first, under one lock, so that queue, threads and store never
// disagree; training itself holds no lock. Any thread may call. Store, repository and clock outlive
// it.
class JobRunner {
 public:
  JobRunner(JobStore& store, ModelRepository& models, TrainerFactory make_trainer,
            const Clock& clock, JobRunnerOptions options);
  // Stop(), then waits for the running jobs' ends.
  ~JobRunner();

  // Queues the job and returns it. Where its request_id is that of a job that is still known, that
  // job is returned instead, or ALREADY_EXISTS where it was asked for differently.
  // RESOURCE_EXHAUSTED where too many wait, UNAVAILABLE once stopping.
  absl::StatusOr<v1::Job> Submit(ResolvedJob job);

  // The job that the very same request made before, by its request_id and SentSha256; nothing where
  // there is none, or where it was asked for in other words: Submit compares what they mean. Asked
  // before the request is resolved, since what it was resolved with may be gone.
  absl::StatusOr<std::optional<v1::Job>> FindSent(const std::string& request_id,
                                                  const std::string& sent_sha256);

  absl::StatusOr<v1::Job> Get(const std::string& id, JobParts parts = JobParts::kWhole);
  // Newest first; see JobStore::List.
  absl::StatusOr<std::vector<v1::Job>> List(const std::string& before_id, int64_t limit);

  // Queued: has ended when this returns. Running: ends at the next cut, and nothing is published;
  // OK again while it comes to it. FAILED_PRECONDITION where the job has ended, or its trained
  // version is being published: then it will succeed.
  absl::StatusOr<v1::Job> Cancel(const std::string& id);

  // From now on no job is accepted or begun, and running ones end at their next cut as FAILED with
  // UNAVAILABLE; one that is being published ends as it would have. Waiting ones stay QUEUED.
  // Warns of each job that is lost by it.
  void Stop();
  // True once no job runs any more; false after `timeout`.
  bool AwaitIdle(absl::Duration timeout);
  // Ends every watch with UNAVAILABLE once it has shown what there is.
  void EndWatches();

 private:
  friend class JobWatch;

  struct Waiting {
    std::string id;
    ResolvedJob job;
  };

  // What a watcher compares with what it has shown.
  struct View {
    v1::JobState state = v1::JOB_STATE_UNSPECIFIED;
    int64_t queue_position = 0;
    v1::Progress progress;
    uint64_t progress_count = 0;  // 0: none yet
    bool watches_ended = false;
  };

  void RunJobs();
  // Takes the first job that waits; null once stopping.
  std::shared_ptr<JobRun> Begin();
  void Train(JobRun& run);
  absl::StatusOr<v1::ModelVersion> TrainAndPublish(JobRun& run);
  // From here on a cancellation comes too late.
  absl::Status BeginPublishing(JobRun& run);
  void End(JobRun& run, const absl::StatusOr<v1::ModelVersion>& outcome);
  void ShowLive(v1::Job& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  int64_t QueuePosition(const std::string& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The job that this request made before; nothing where it is new.
  absl::StatusOr<std::optional<v1::Job>> FindRepeated(const ResolvedJob& asked)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<View> Look(const std::string& id);
  // As it is under the lock that the change was made under.
  v1::Job Listed(const std::string& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Tells on_change of all changes so far; whoever made one calls it once they hold no lock.
  void TellChanges() ABSL_LOCKS_EXCLUDED(tell_mu_, mu_);

  JobStore& store_;
  ModelRepository& models_;
  const TrainerFactory make_trainer_;
  const Clock& clock_;
  const JobRunnerOptions options_;
  Watchers watchers_;

  // Held while on_change is told, so that the next change waits for its turn.
  absl::Mutex tell_mu_ ABSL_ACQUIRED_BEFORE(mu_);
  // Held while the store changes a job's state, never while a job trains or is published.
  absl::Mutex mu_;
  std::deque<Waiting> waiting_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, std::shared_ptr<JobRun>> running_ ABSL_GUARDED_BY(mu_);
  std::deque<v1::Job> untold_ ABSL_GUARDED_BY(mu_);  // changes, for on_change
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool watches_ended_ ABSL_GUARDED_BY(mu_) = false;

  std::vector<std::thread> threads_;  // last: they use the rest
};

}  // namespace convd

#endif  // CONVD_SERVER_JOBS_RUNNER_H_
