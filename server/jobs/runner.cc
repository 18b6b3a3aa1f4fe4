#include "server/jobs/runner.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/status/status_macros.h"
#include "server/jobs/job_run.h"
#include "server/jobs/transitions.h"

namespace convd {
namespace {

absl::Status StoppingError() {
  return absl::UnavailableError("the server is stopping; try again when it is back");
}

// What a job that the server's stop ended says.
absl::Status StoppedError(const v1::Progress& progress) {
  if (progress.epochs() == 0) {
    return absl::UnavailableError("server stopping: the job had just begun; submit it again");
  }
  return absl::UnavailableError(absl::StrCat("server stopping: the job ended in epoch ",
                                             progress.epoch(), " of ", progress.epochs(),
                                             " and published nothing; submit it again"));
}

}  // namespace

JobRunner::JobRunner(JobStore& store, ModelRepository& models, TrainerFactory make_trainer,
                     const Clock& clock, JobRunnerOptions options)
    : store_(store),
      models_(models),
      make_trainer_(std::move(make_trainer)),
      clock_(clock),
      options_(std::move(options)),
      watchers_(options_.max_watches) {
  for (int i = 0; i < options_.concurrent_jobs; ++i) threads_.emplace_back([this] { RunJobs(); });
}

JobRunner::~JobRunner() {
  Stop();
  for (std::thread& thread : threads_) thread.join();
}

absl::StatusOr<v1::Job> JobRunner::Submit(ResolvedJob job) {
  v1::Job record;
  *record.mutable_request() = job.request;
  record.set_summary(job.summary);
  record.mutable_warnings()->Add(job.warnings.begin(), job.warnings.end());
  {
    absl::MutexLock lock(&mu_);
    CONVD_ASSIGN_OR_RETURN(std::optional<v1::Job> repeated, FindRepeated(job));
    if (repeated.has_value()) return *std::move(repeated);
    if (stopping_) return StoppingError();
    if (static_cast<int64_t>(waiting_.size()) >= options_.max_waiting) {
      return absl::ResourceExhaustedError(
          absl::StrCat(options_.max_waiting,
                       " jobs wait in the queue already; try again when some have ended, or cancel "
                       "some"));
    }
    CONVD_ASSIGN_OR_RETURN(record, store_.Create(std::move(record), clock_.Now(), job.sent_sha256));
    waiting_.push_back({record.id(), std::move(job)});
    ShowLive(record);
    untold_.push_back(Listed(record.id()));
  }
  TellChanges();
  return record;
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

absl::StatusOr<std::optional<v1::Job>> JobRunner::FindRepeated(const ResolvedJob& asked) {
  const v1::TrainRequest& request = asked.request;
  if (request.request_id().empty()) return std::optional<v1::Job>();
  CONVD_ASSIGN_OR_RETURN(const SentRequest sent, store_.FindRequest(request.request_id()));
  if (sent.job_id.empty()) return std::optional<v1::Job>();
  CONVD_ASSIGN_OR_RETURN(v1::Job job, store_.Get(sent.job_id, JobParts::kWhole));
  const bool same_words = !asked.sent_sha256.empty() && sent.sha256 == asked.sent_sha256;
  // Both are resolved, so a default that is spelt out makes no difference.
  if (!same_words && !google::protobuf::util::MessageDifferencer::Equals(job.request(), request)) {
    return absl::AlreadyExistsError(
        absl::StrCat("request_id: job \"", sent.job_id,
                     "\" was submitted with this id and another request; want a new id"));
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

void JobRunner::ShowLive(v1::Job& job) {
  if (job.state() == v1::JOB_STATE_QUEUED) job.set_queue_position(QueuePosition(job.id()));
  if (job.state() != v1::JOB_STATE_RUNNING) return;
  const auto it = running_.find(job.id());
  if (it == running_.end()) return;
  const JobRun::Latest latest = it->second->latest();
  if (latest.count > 0) *job.mutable_progress() = latest.progress;
}

int64_t JobRunner::QueuePosition(const std::string& id) {
  // Ids ascend in the queue, as jobs come and go in order.
  const auto it = std::lower_bound(
      waiting_.begin(), waiting_.end(), id,
      [](const Waiting& waiting, const std::string& wanted) { return waiting.id < wanted; });
  return it != waiting_.end() && it->id == id ? it - waiting_.begin() + 1 : 0;
}

absl::StatusOr<JobRunner::View> JobRunner::Look(const std::string& id) {
  absl::MutexLock lock(&mu_);
  View view;
  CONVD_ASSIGN_OR_RETURN(view.state, store_.State(id));
  if (view.state == v1::JOB_STATE_QUEUED) view.queue_position = QueuePosition(id);
  if (const auto it = running_.find(id); it != running_.end()) {
    JobRun::Latest latest = it->second->latest();
    view.progress = std::move(latest.progress);
    view.progress_count = latest.count;
  }
  view.watches_ended = watches_ended_;
  return view;
}

absl::StatusOr<v1::Job> JobRunner::Cancel(const std::string& id) {
  v1::Job job;
  {
    absl::MutexLock lock(&mu_);
    CONVD_ASSIGN_OR_RETURN(const v1::JobState state, store_.State(id));
    if (const int64_t position = QueuePosition(id); position > 0) {
      JobChange change;
      change.state = v1::JOB_STATE_CANCELLED;
      change.time = clock_.Now();
      CONVD_RETURN_IF_ERROR(store_.Apply(id, change));
      waiting_.erase(waiting_.begin() + (position - 1));
    } else if (const auto it = running_.find(id); it != running_.end()) {
      if (it->second->publishing) {
        return absl::FailedPreconditionError(absl::StrCat(
            "job \"", id,
            "\" has trained to its end and is being published; it can't be cancelled any more"));
      }
      it->second->Cancel();
    } else {
      const std::string_view name = StateName(state);
      return absl::FailedPreconditionError(absl::StrCat(
          "job \"", id, "\" has ended (", absl::string_view(name.data(), name.size()), ")"));
    }
    CONVD_ASSIGN_OR_RETURN(job, store_.Get(id, JobParts::kWhole));
    ShowLive(job);
    if (IsFinal(job.state())) untold_.push_back(Listed(id));
  }
  if (IsFinal(job.state())) {
    TellChanges();
    // The place of all behind it has changed, too.
    watchers_.WakeAll();
  }
  return job;
}

void JobRunner::Stop() {
  std::vector<std::string> lost;
  {
    absl::MutexLock lock(&mu_);
    if (std::exchange(stopping_, true)) return;
    for (auto& [id, run] : running_) {
      run->Stop();
      if (run->publishing || run->cancelled()) continue;
      lost.push_back(absl::StrCat("job ", id, " (model ", Listed(id).request().model(),
                                  ") is running and will publish nothing: the server stops; "
                                  "submit it again"));
    }
    // The queue is kept in memory alone.
    for (const Waiting& waiting : waiting_) {
      lost.push_back(absl::StrCat("job ", waiting.id, " (model ", waiting.job.request.model(),
                                  ") is queued and will be forgotten: the server stops; submit it "
                                  "again"));
    }
  }
  for (const std::string& warning : lost) options_.on_warning(warning);
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

void JobRunner::RunJobs() {
  while (const std::shared_ptr<JobRun> run = Begin()) {
    TellChanges();
    // This one's state and the place of all behind it.
    watchers_.WakeAll();
    Train(*run);
  }
}

std::shared_ptr<JobRun> JobRunner::Begin() {
  absl::Status error;
  for (;;) {
    if (!error.ok()) {
      options_.on_warning(absl::StrCat("a job can't begin: ", error.message()));
    }
    absl::MutexLock lock(&mu_);
    const auto may_go_on = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return stopping_ || !waiting_.empty();
    };
    const auto is_stopping = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return stopping_; };
    if (!error.ok()) {
      mu_.AwaitWithTimeout(absl::Condition(&is_stopping), options_.retry_interval);
    }
    mu_.Await(absl::Condition(&may_go_on));
    if (stopping_) return nullptr;
    Waiting& next = waiting_.front();
    JobChange change;
    change.state = v1::JOB_STATE_RUNNING;
    change.time = clock_.Now();
    error = store_.Apply(next.id, change);
    if (!error.ok()) continue;
    const std::string id = next.id;
    auto run =
        std::make_shared<JobRun>(id, std::move(next.job), store_, clock_,
                                 options_.progress_interval, [this, id] { watchers_.WakeUp(id); });
    waiting_.pop_front();
    running_.emplace(id, run);
    untold_.push_back(Listed(id));
    return run;
  }
}

void JobRunner::Train(JobRun& run) {
  absl::StatusOr<v1::ModelVersion> outcome = absl::InternalError("the job never ran");
  // Nothing of ours throws, but the standard library does when memory is short, and one job's
  // trouble is not the others'.
  try {
    outcome = TrainAndPublish(run);
  } catch (const std::bad_alloc&) {
    outcome = absl::ResourceExhaustedError(
        "not enough memory for this job; take a smaller network or batch_size");
  } catch (const std::exception& error) {
    outcome = absl::InternalError(absl::StrCat("unexpected: ", error.what()));
  }
  End(run, outcome);
}

absl::StatusOr<v1::ModelVersion> JobRunner::TrainAndPublish(JobRun& run) {
  ResolvedJob& job = run.job();
  CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<Trainer> trainer,
                         make_trainer_(job.graph, job.request, job.data));
  const absl::Duration start = clock_.Monotonic();
  CONVD_RETURN_IF_ERROR(trainer->Run(run));
  const absl::Duration took = clock_.Monotonic() - start;
  CONVD_RETURN_IF_ERROR(trainer->PrepareServing(run));
  for (const std::string& warning : trainer->warnings()) {
    options_.on_warning(
        absl::StrCat("job ", run.id(), " (model ", job.request.model(), "): ", warning));
  }
  CONVD_RETURN_IF_ERROR(BeginPublishing(run));

  v1::ModelCard card;
  card.mutable_model()->set_name(job.request.model());
  card.set_job_id(run.id());
  *card.mutable_request() = job.request;
  *card.mutable_network() = job.graph.network();
  card.set_parameters(job.graph.parameter_count());
  card.mutable_labels()->Add(job.data.labels.begin(), job.data.labels.end());
  card.set_data_sha256(job.data_sha256);
  card.mutable_history()->Add(trainer->history().begin(), trainer->history().end());
  if (trainer->validation().samples() > 0) *card.mutable_validation() = trainer->validation();
  if (trainer->quantization().samples() > 0) {
    *card.mutable_quantization() = trainer->quantization();
  }
  card.mutable_served()->Add(trainer->served().begin(), trainer->served().end());
  card.set_instruction_set(options_.instruction_set);
  card.mutable_library_versions()->insert(options_.library_versions.begin(),
                                          options_.library_versions.end());
  card.set_training_seconds(absl::ToDoubleSeconds(took));
  return models_.Publish(job.graph, trainer->parameters(), std::move(card));
}

absl::Status JobRunner::BeginPublishing(JobRun& run) {
  absl::MutexLock lock(&mu_);
  // Asked for after the trainer last looked, and still in time: nothing is published.
  if (run.Cancelled()) return absl::CancelledError("the run was asked to end");
  run.publishing = true;
  return absl::OkStatus();
}

void JobRunner::End(JobRun& run, const absl::StatusOr<v1::ModelVersion>& outcome) {
  JobChange change;
  change.progress = run.latest().progress;
  change.progress.set_seconds_left(0);
  change.progress.set_validating(false);
  if (outcome.ok()) {
    change.state = v1::JOB_STATE_SUCCEEDED;
    change.result = *outcome;
  } else {
    absl::Status status = outcome.status();
    change.state = v1::JOB_STATE_FAILED;
    if (absl::IsCancelled(status)) {
      // Of several reasons the user's own comes last: what broke must not pass for a wish.
      if (!run.store_error().ok()) {
        status = absl::Status(
            run.store_error().code(),
            absl::StrCat("the history could not be kept: ", run.store_error().message()));
      } else if (run.cancelled()) {
        change.state = v1::JOB_STATE_CANCELLED;
      } else if (run.stopped()) {
        status = StoppedError(change.progress);
      }
    }
    change.error.set_code(static_cast<int>(status.code()));
    change.error.set_message(std::string(status.message().data(), status.message().size()));
  }
  for (;;) {
    absl::Status kept;
    {
      absl::MutexLock lock(&mu_);
      change.time = clock_.Now();
      kept = store_.Apply(run.id(), change);
      if (kept.ok()) {
        running_.erase(run.id());
        untold_.push_back(Listed(run.id()));
      }
    }
    if (kept.ok()) break;
    options_.on_warning(
        absl::StrCat("the end of job ", run.id(), " can't be kept: ", kept.message()));
    absl::MutexLock lock(&mu_);
    const auto is_stopping = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return stopping_; };
    if (mu_.AwaitWithTimeout(absl::Condition(&is_stopping), options_.retry_interval)) {
      running_.erase(run.id());
      return;
    }
  }
  TellChanges();
  watchers_.WakeUp(run.id());
}

}  // namespace convd
