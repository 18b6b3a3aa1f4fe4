#include "server/jobs/runner.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/status/status_macros.h"
#include "server/jobs/disk_room.h"
#include "server/jobs/transitions.h"

namespace convd {
namespace {

constexpr int32_t kMostPriority = 100;
absl::Status StoppingError() {
  return absl::UnavailableError("the server is stopping; try again when it is back");
}

absl::Status CantBecome(const std::string& id, absl::string_view is) {
  return absl::FailedPreconditionError(absl::StrCat("job \"", id, "\" ", is));
}

absl::Status HasEnded(const std::string& id, v1::JobState state) {
  const std::string_view name = StateName(state);
  return CantBecome(id,
                    absl::StrCat("has ended (", absl::string_view(name.data(), name.size()), ")"));
}

absl::Status AlreadySent(const std::string& id) {
  return absl::AlreadyExistsError(
      absl::StrCat("request_id: job \"", id,
                   "\" was submitted with this id and another request; want a new id"));
}

absl::Status NeededBy(const LiveJob& job, absl::string_view what) {
  const std::string_view state = StateName(job.state);
  return absl::FailedPreconditionError(absl::StrCat(what, " is needed by job \"", job.id, "\" (",
                                                    absl::string_view(state.data(), state.size()),
                                                    "); wait for its end, or cancel it"));
}

WaitingLine::Place PlaceOf(const LiveJob& job) {
  return {job.started, job.priority, job.created, job.id};
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobRunner>> JobRunner::Start(
    JobStore& store, ModelRepository& models, FileSystem& fs, const std::string& state_dir,
    JobResolver resolve, TrainerFactory make_trainer, const Clock& clock,
    JobRunnerOptions options) {
  std::unique_ptr<JobRunner> runner(new JobRunner(store, models, fs, state_dir, std::move(resolve),
                                                  std::move(make_trainer), clock,
                                                  std::move(options)));
  CONVD_RETURN_IF_ERROR(runner->Recover());
  for (int i = 0; i < runner->options_.concurrent_jobs; ++i) {
    runner->threads_.emplace_back([self = runner.get()] { self->RunJobs(); });
  }
  return runner;
}

JobRunner::JobRunner(JobStore& store, ModelRepository& models, FileSystem& fs,
                     const std::string& state_dir, JobResolver resolve, TrainerFactory make_trainer,
                     const Clock& clock, JobRunnerOptions options)
    : store_(store),
      clock_(clock),
      options_(std::move(options)),
      checkpoints_(fs, state_dir, options_.on_warning),
      training_{models,
                checkpoints_,
                std::move(resolve),
                std::move(make_trainer),
                options_.instruction_set,
                options_.library_versions,
                options_.on_warning},
      watchers_(options_.max_watches) {}

JobRunner::~JobRunner() {
  Stop();
  for (std::thread& thread : threads_) thread.join();
}

absl::Status JobRunner::Recover() {
  {
    absl::MutexLock lock(&mu_);
    CONVD_ASSIGN_OR_RETURN(std::vector<LiveJob> jobs, store_.Live());
    for (LiveJob& job : jobs) live_.emplace(job.id, std::move(job));
    std::set<std::string> live;
    for (const auto& [id, job] : live_) live.insert(id);
    CONVD_RETURN_IF_ERROR(checkpoints_.Sweep(live));
    for (const std::string& id : live) {
      LiveJob& job = live_.at(id);
      if (job.state == v1::JOB_STATE_RUNNING) {
        CONVD_RETURN_IF_ERROR(RecoverRunning(job));
      } else if (job.state == v1::JOB_STATE_QUEUED) {
        waiting_.Add(PlaceOf(job));
      }
    }
  }
  TellChanges();
  return absl::OkStatus();
}

absl::Status JobRunner::RecoverRunning(LiveJob& job) {
  CONVD_ASSIGN_OR_RETURN(const v1::Job stored, store_.Get(job.id, JobParts::kListed));
  // The end was not written down any more. From a version's publication on no wish is granted.
  if (std::optional<v1::ModelVersion> version = FindPublished(training_.models, stored)) {
    JobChange change;
    change.state = v1::JOB_STATE_SUCCEEDED;
    change.time = clock_.Now();
    change.result = *std::move(version);
    CONVD_RETURN_IF_ERROR(Apply(stored.id(), change));
    checkpoints_.Remove(stored.id());
    return absl::OkStatus();
  }
  const bool asked = job.wished != v1::JOB_STATE_UNSPECIFIED;
  if (!asked) {
    options_.on_warning(absl::StrCat("job ", job.id, " was running when the server ended; it goes ",
                                     "on from what was saved of it"));
  }
  const std::string id = job.id;
  const v1::JobState state = asked ? job.wished : v1::JOB_STATE_QUEUED;
  CONVD_RETURN_IF_ERROR(Apply(id, state));  // `job` may be gone
  if (IsFinal(state)) checkpoints_.Remove(id);
  return absl::OkStatus();
}

absl::StatusOr<v1::Job> JobRunner::Submit(ResolvedJob job) {
  JobRecord record;
  *record.job.mutable_request() = job.request;
  record.job.set_summary(job.summary);
  record.job.mutable_warnings()->Add(job.warnings.begin(), job.warnings.end());
  record.sent_sha256 = job.sent_sha256;
  record.data_sha256 = job.data_sha256;
  record.validation_sha256 = job.validation_sha256;
  const absl::Status room = options_.take_room(DiskRoomFor(job.request));
  v1::Job created;
  {
    absl::MutexLock lock(&mu_);
    CONVD_ASSIGN_OR_RETURN(std::optional<v1::Job> repeated, FindRepeated(job));
    if (repeated.has_value()) return *std::move(repeated);
    if (stopping_) return StoppingError();
    CONVD_RETURN_IF_ERROR(room);
    const int64_t waiting = static_cast<int64_t>(live_.size() - running_.size());
    if (waiting >= options_.max_waiting) {
      return absl::ResourceExhaustedError(
          absl::StrCat(waiting,
                       " jobs wait in the queue or are paused already; try again when some have "
                       "ended, or cancel some"));
    }
    CONVD_ASSIGN_OR_RETURN(created, store_.Create(std::move(record), clock_.Now()));
    LiveJob& live = live_.emplace(created.id(), LiveJobOf(created)).first->second;
    live.memory_bytes = job.memory_bytes;
    waiting_.Add(PlaceOf(live));
    ShowLive(created);
    untold_.push_back(Listed(created.id()));
  }
  TellChanges();
  return created;
}

absl::StatusOr<std::optional<v1::Job>> JobRunner::FindSent(const std::string& request_id,
                                                           const std::string& sent_sha256) {
  if (request_id.empty() || sent_sha256.empty()) return std::optional<v1::Job>();
  absl::MutexLock lock(&mu_);
  CONVD_ASSIGN_OR_RETURN(const SentRequest sent, store_.FindRequest(request_id));
  if (sent.sha256 != sent_sha256) return std::optional<v1::Job>();
  CONVD_ASSIGN_OR_RETURN(v1::Job job, store_.Get(sent.job_id, JobParts::kWhole));
  ShowLive(job);
  return std::optional<v1::Job>(std::move(job));
}

absl::Status JobRunner::CheckUnsent(const std::string& request_id) {
  if (request_id.empty()) return absl::OkStatus();
  absl::MutexLock lock(&mu_);
  CONVD_ASSIGN_OR_RETURN(const SentRequest sent, store_.FindRequest(request_id));
  return sent.job_id.empty() ? absl::OkStatus() : AlreadySent(sent.job_id);
}

absl::StatusOr<std::optional<v1::Job>> JobRunner::FindRepeated(const ResolvedJob& asked) {
  const v1::TrainRequest& request = asked.request;
  if (request.request_id().empty()) return std::optional<v1::Job>();
  CONVD_ASSIGN_OR_RETURN(const SentRequest sent, store_.FindRequest(request.request_id()));
  if (sent.job_id.empty()) return std::optional<v1::Job>();
  CONVD_ASSIGN_OR_RETURN(v1::Job job, store_.Get(sent.job_id, JobParts::kWhole));
  const bool same_words = !asked.sent_sha256.empty() && sent.sha256 == asked.sent_sha256;
  // Both are resolved, so a default that is spelt out makes no difference.
  v1::TrainRequest asked_for = request;
  if (job.request().allow_different_bits()) asked_for.set_allow_different_bits(true);
  if (!same_words &&
      !google::protobuf::util::MessageDifferencer::Equals(job.request(), asked_for)) {
    return AlreadySent(sent.job_id);
  }
  ShowLive(job);
  return std::optional<v1::Job>(std::move(job));
}

absl::StatusOr<v1::Job> JobRunner::Get(const std::string& id, JobParts parts) {
  absl::MutexLock lock(&mu_);
  CONVD_ASSIGN_OR_RETURN(v1::Job job, store_.Get(id, parts));
  ShowLive(job);
  return job;
}

absl::StatusOr<std::vector<v1::Job>> JobRunner::List(const std::string& before_id, int64_t limit) {
  absl::MutexLock lock(&mu_);
  CONVD_ASSIGN_OR_RETURN(std::vector<v1::Job> jobs, store_.List(before_id, limit));
  for (v1::Job& job : jobs) ShowLive(job);
  return jobs;
}

JobRunner::Overview JobRunner::overview() {
  absl::MutexLock lock(&mu_);
  Overview overview;
  for (const auto& [id, job] : live_) ++overview.states[job.state];
  for (const auto& [id, run] : running_) {
    v1::Job& job = overview.running.emplace_back();
    job.set_id(id);
    job.mutable_request()->set_model(run->begun().job.request().model());
    JobRun::Latest latest = run->latest();
    if (latest.count > 0) *job.mutable_progress() = std::move(latest.progress);
  }
  return overview;
}

void JobRunner::ShowLive(v1::Job& job) {
  if (job.state() == v1::JOB_STATE_QUEUED) {
    job.set_queue_position(QueuePosition(job.id()));
    job.set_waiting_for(WaitingFor(job.id(), job.queue_position()));
  }
  if (job.state() != v1::JOB_STATE_RUNNING) return;
  const auto it = running_.find(job.id());
  if (it == running_.end()) return;
  const JobRun::Latest latest = it->second->latest();
  if (latest.count > 0) *job.mutable_progress() = latest.progress;
}

std::string JobRunner::WaitingFor(const std::string& id, int64_t position) {
  return position == 1 && held_.id == id ? held_.why : "";
}

int64_t JobRunner::QueuePosition(const std::string& id) {
  const auto it = live_.find(id);
  return it == live_.end() ? 0 : waiting_.Position(PlaceOf(it->second));
}

absl::StatusOr<v1::JobState> JobRunner::State(const std::string& id) {
  const auto it = live_.find(id);
  if (it != live_.end()) return it->second.state;
  return store_.State(id);
}

absl::StatusOr<JobRunner::View> JobRunner::Look(const std::string& id) {
  absl::MutexLock lock(&mu_);
  View view;
  CONVD_ASSIGN_OR_RETURN(view.state, State(id));
  if (view.state == v1::JOB_STATE_QUEUED) {
    view.queue_position = QueuePosition(id);
    view.waiting_for = WaitingFor(id, view.queue_position);
  }
  if (const auto it = running_.find(id); it != running_.end()) {
    JobRun::Latest latest = it->second->latest();
    view.progress = std::move(latest.progress);
    view.progress_count = latest.count;
  }
  view.watches_ended = watches_ended_;
  return view;
}

absl::Status JobRunner::Apply(const std::string& id, const JobChange& change) {
  CONVD_RETURN_IF_ERROR(store_.Apply(id, change));
  LiveJob& job = live_.at(id);
  if (job.state == v1::JOB_STATE_QUEUED) waiting_.Remove(PlaceOf(job));
  if (held_.id == id) held_ = {};
  job.state = change.state;
  job.wished = v1::JOB_STATE_UNSPECIFIED;
  if (change.state == v1::JOB_STATE_RUNNING) job.started = true;
  if (change.state == v1::JOB_STATE_QUEUED) waiting_.Add(PlaceOf(job));
  if (IsFinal(change.state)) live_.erase(id);
  untold_.push_back(Listed(id));
  return absl::OkStatus();
}

absl::Status JobRunner::Apply(const std::string& id, v1::JobState state) {
  JobChange change;
  change.state = state;
  change.time = clock_.Now();
  return Apply(id, change);
}

absl::Status JobRunner::AskRunning(JobRun& run, JobRun::Wish wish, v1::JobState wished) {
  if (run.publishing) {
    return CantBecome(run.id(),
                      "has trained to its end and is being published; it can't be cancelled or "
                      "paused any more");
  }
  if (run.wish() > wish) {
    return CantBecome(run.id(), run.wish() == JobRun::Wish::kCancel ? "is about to be cancelled"
                                                                    : "has run for max_runtime");
  }
  CONVD_RETURN_IF_ERROR(store_.SetWish(run.id(), wished));
  run.Ask(wish);
  return absl::OkStatus();
}

absl::StatusOr<v1::Job> JobRunner::Cancel(const std::string& id) {
  return Act(id, [&](v1::JobState state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) -> absl::Status {
    if (IsFinal(state)) return HasEnded(id, state);
    if (const auto it = running_.find(id); it != running_.end()) {
      return AskRunning(*it->second, JobRun::Wish::kCancel, v1::JOB_STATE_CANCELLED);
    }
    return Apply(id, v1::JOB_STATE_CANCELLED);
  });
}

absl::StatusOr<v1::Job> JobRunner::Pause(const std::string& id) {
  return Act(id, [&](v1::JobState state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) -> absl::Status {
    if (IsFinal(state)) return HasEnded(id, state);
    if (state == v1::JOB_STATE_PAUSED) return absl::OkStatus();
    if (const auto it = running_.find(id); it != running_.end()) {
      return AskRunning(*it->second, JobRun::Wish::kPause, v1::JOB_STATE_PAUSED);
    }
    return Apply(id, v1::JOB_STATE_PAUSED);
  });
}

absl::StatusOr<v1::Job> JobRunner::Resume(const std::string& id, bool allow_different_bits) {
  {
    absl::MutexLock lock(&mu_);
    CONVD_ASSIGN_OR_RETURN(const v1::JobState state, State(id));
    if (state != v1::JOB_STATE_PAUSED) allow_different_bits = true;  // no checkpoint to look at
  }
  absl::Status same;
  if (!allow_different_bits) same = CheckSameBits(training_, id);
  return Act(id, [&](v1::JobState state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) -> absl::Status {
    if (IsFinal(state)) return HasEnded(id, state);
    if (const auto it = running_.find(id);
        it != running_.end() && it->second->wish() >= JobRun::Wish::kPause) {
      return CantBecome(id, "is about to be paused or to end; resume it when it is PAUSED");
    }
    if (state != v1::JOB_STATE_PAUSED) return absl::OkStatus();
    CONVD_RETURN_IF_ERROR(same);
    if (allow_different_bits) CONVD_RETURN_IF_ERROR(store_.AllowDifferentBits(id));
    return Apply(id, v1::JOB_STATE_QUEUED);
  });
}

absl::StatusOr<v1::Job> JobRunner::SetPriority(const std::string& id, int32_t priority) {
  if (priority < -kMostPriority || priority > kMostPriority) {
    return absl::InvalidArgumentError(
        absl::StrCat("priority: got ", priority, "; want ", -kMostPriority, " to ", kMostPriority));
  }
  return Act(id, [&](v1::JobState state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) -> absl::Status {
    if (IsFinal(state)) return HasEnded(id, state);
    if (state == v1::JOB_STATE_RUNNING) {
      return CantBecome(id, "is running; only a job that waits has a priority to change");
    }
    CONVD_RETURN_IF_ERROR(store_.SetPriority(id, priority));
    LiveJob& job = live_.at(id);
    waiting_.Remove(PlaceOf(job));
    job.priority = priority;
    if (state == v1::JOB_STATE_QUEUED) waiting_.Add(PlaceOf(job));
    return absl::OkStatus();
  });
}

absl::StatusOr<v1::Job> JobRunner::Act(const std::string& id,
                                       absl::FunctionRef<absl::Status(v1::JobState)> act) {
  v1::Job job;
  absl::Status status;
  {
    absl::MutexLock lock(&mu_);
    const auto acted = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) -> absl::Status {
      CONVD_ASSIGN_OR_RETURN(const v1::JobState state, State(id));
      // Its end could not be written down before the stop; the next start finds out what it was.
      if (state == v1::JOB_STATE_RUNNING && running_.count(id) == 0) return StoppingError();
      CONVD_RETURN_IF_ERROR(act(state));
      CONVD_RETURN_IF_ERROR(store_.Settle());
      CONVD_ASSIGN_OR_RETURN(job, store_.Get(id, JobParts::kWhole));
      ShowLive(job);
      return absl::OkStatus();
    };
    status = acted();
  }
  // Also where it is not certain that the change is on disk: it is seen.
  TellChanges();
  // The place of all behind it may have changed, too.
  watchers_.WakeAll();
  CONVD_RETURN_IF_ERROR(status);
  if (IsFinal(job.state())) checkpoints_.Remove(id);
  return job;
}

absl::Status JobRunner::CheckUnused(const std::string& dataset) {
  absl::MutexLock lock(&mu_);
  for (const auto& [id, job] : live_) {
    if (job.train_dataset == dataset || job.validation_dataset == dataset) {
      return NeededBy(job, absl::StrCat("name: \"", dataset, "\""));
    }
  }
  return absl::OkStatus();
}

absl::Status JobRunner::CheckUnused(const v1::ModelVersion& version) {
  absl::MutexLock lock(&mu_);
  for (const auto& [id, job] : live_) {
    if (job.initial_model.name() == version.name() &&
        job.initial_model.version() == version.version()) {
      return NeededBy(
          job, absl::StrCat("model: version ", version.version(), " of \"", version.name(), "\""));
    }
  }
  return absl::OkStatus();
}

void JobRunner::Stop() {
  absl::MutexLock lock(&mu_);
  stopping_ = true;
  for (auto& [id, run] : running_) run->Ask(JobRun::Wish::kStop);
}

bool JobRunner::AwaitIdle(absl::Duration timeout) {
  absl::MutexLock lock(&mu_);
  return mu_.AwaitWithTimeout(
      absl::Condition(
          +[](JobRunner* self) ABSL_NO_THREAD_SAFETY_ANALYSIS { return self->running_.empty(); },
          this),
      timeout);
}

void JobRunner::EndWatches() {
  {
    absl::MutexLock lock(&mu_);
    watches_ended_ = true;
  }
  watchers_.WakeAll();
}

void JobRunner::TellChanges() {
  absl::MutexLock telling(&tell_mu_);
  std::deque<v1::Job> changes;
  {
    absl::MutexLock lock(&mu_);
    changes.swap(untold_);
  }
  for (const v1::Job& job : changes) options_.on_change(job);
}

v1::Job JobRunner::Listed(const std::string& id) {
  absl::StatusOr<v1::Job> job = store_.Get(id, JobParts::kListed);
  return job.ok() ? *std::move(job) : v1::Job();
}

}  // namespace convd
