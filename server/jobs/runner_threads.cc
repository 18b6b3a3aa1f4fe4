// The runner's threads: which job begins, and its run to its end.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"
#include "server/jobs/disk_room.h"
#include "server/jobs/runner.h"
#include "server/jobs/transitions.h"

namespace convd {
namespace {

// It may be what ended the server in its last attempt, and hasn't shown yet that it isn't.
bool IsSuspect(const JobRun& run) { return run.begun().crashes > 1 && !run.saved(); }

}  // namespace

void JobRunner::RunJobs() {
  for (;;) {
    {
      absl::MutexLock lock(&mu_);
      const auto may_go_on = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
        return stopping_ || !waiting_.empty();
      };
      mu_.Await(absl::Condition(&may_go_on));
      if (stopping_) return;
    }
    if (RunOne()) continue;
    absl::MutexLock lock(&mu_);
    const auto is_stopping = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return stopping_; };
    // Another thread was faster, the first one can't begin yet, or the store could not keep the
    // change.
    if (!waiting_.empty()) {
      mu_.AwaitWithTimeout(absl::Condition(&is_stopping), options_.retry_interval);
    }
  }
}

void JobRunner::WarnOfNoBeginning(const absl::Status& status) {
  {
    absl::MutexLock lock(&mu_);
    if (std::exchange(told_of_no_beginning_, true)) return;
  }
  options_.on_warning(
      absl::StrCat("no job can begin, and what waits goes on waiting: ", status.message()));
}

bool JobRunner::RunOne() {
  absl::StatusOr<std::shared_ptr<JobRun>> run = Begin();
  if (!run.ok()) WarnOfNoBeginning(run.status());
  if (!run.ok() || *run == nullptr) {
    WakeHeld();
    return false;
  }
  TellChanges();
  // This one's state and the place of all behind it.
  watchers_.WakeAll();
  Run(**run);
  return true;
}

void JobRunner::WakeHeld() {
  std::string id;
  {
    absl::MutexLock lock(&mu_);
    if (held_.told) return;
    held_.told = true;
    id = held_.id;
  }
  watchers_.WakeUp(id);
}

absl::StatusOr<std::shared_ptr<JobRun>> JobRunner::Begin() {
  std::string unknown;  // a job whose memory can't be found out: it begins, and says why
  for (;;) {
    JobRecord record;
    {
      absl::MutexLock lock(&mu_);
      if (stopping_ || waiting_.empty()) return std::shared_ptr<JobRun>();
      const LiveJob& first = live_.at(waiting_.first());
      CONVD_ASSIGN_OR_RETURN(record, store_.GetRecord(first.id));
      if (first.memory_bytes.has_value() || first.id == unknown) {
        return BeginFirst(std::move(record), first.memory_bytes);
      }
    }
    // Submitted to an earlier server. It takes the disk, so another may be first afterwards.
    const absl::StatusOr<int64_t> bytes = MemoryOf(training_, record.job.request());
    if (!bytes.ok()) unknown = record.job.id();
    absl::MutexLock lock(&mu_);
    if (const auto it = live_.find(record.job.id()); it != live_.end() && bytes.ok()) {
      it->second.memory_bytes = *bytes;
    }
  }
}

absl::StatusOr<std::shared_ptr<JobRun>> JobRunner::BeginFirst(JobRecord record,
                                                              std::optional<int64_t> memory_bytes) {
  const std::string id = record.job.id();
  // Until it is saved anew it has the server to itself, so that no other job is taken for what ends
  // the server.
  const auto suspect = std::find_if(running_.begin(), running_.end(),
                                    [](const auto& run) { return IsSuspect(*run.second); });
  if (suspect != running_.end()) {
    Hold(id, absl::StrCat("job ", suspect->first,
                          " runs alone until it is saved: the server ended while it ran"));
    return std::shared_ptr<JobRun>();
  }
  if (record.crashes > 0 && !running_.empty()) {
    Hold(id, absl::StrCat("it has to begin alone, since the server ended while it ran, and ",
                          running_.size(), running_.size() == 1 ? " job runs" : " jobs run"));
    return std::shared_ptr<JobRun>();
  }
  // A job that can't be saved would train for nothing; waiting costs it nothing.
  if (absl::Status room = options_.take_room(DiskRoomFor(record.job.request())); !room.ok()) {
    Hold(id, room.message());
    return room;
  }
  MemoryLedger::Share memory;
  if (options_.memory != nullptr && memory_bytes.has_value()) {
    absl::StatusOr<MemoryLedger::Share> taken = options_.memory->TakeForJob(id, *memory_bytes);
    if (!taken.ok()) {
      Hold(id, absl::StrCat("training ", taken.status().message()));
      return std::shared_ptr<JobRun>();
    }
    memory = *std::move(taken);
  }
  JobChange change;
  change.state = v1::JOB_STATE_RUNNING;
  change.time = clock_.Now();
  change.crashes = ++record.crashes;
  CONVD_RETURN_IF_ERROR(Apply(id, change));
  held_ = {};  // of whichever job: it is tried anew when a place is free
  record.job.set_attempts(record.job.attempts() + 1);
  v1::CheckpointHeader header;
  header.set_job_id(id);
  header.set_attempt(record.job.attempts());
  header.set_instruction_set(options_.instruction_set);
  header.mutable_library_versions()->insert(options_.library_versions.begin(),
                                            options_.library_versions.end());
  auto run = std::make_shared<JobRun>(std::move(record), std::move(header), store_, checkpoints_,
                                      clock_, options_.checkpoints, options_.progress_interval,
                                      [this, id] { watchers_.WakeUp(id); });
  run->memory = std::move(memory);
  run->has_memory = options_.memory == nullptr || memory_bytes.has_value();
  running_.emplace(id, run);
  told_of_no_beginning_ = false;
  return run;
}

void JobRunner::Hold(const std::string& id, absl::string_view why) {
  if (held_.id == id && held_.why == why) return;
  held_ = {id, std::string(why.data(), why.size()), /*told=*/false};
}

absl::Status JobRunner::BeginPublishing(JobRun& run) {
  absl::MutexLock lock(&mu_);
  // Asked for after the trainer last looked, and still in time: nothing is published.
  if (run.Cancelled()) return absl::CancelledError("the run was asked to end");
  run.publishing = true;
  return absl::OkStatus();
}

void JobRunner::Run(JobRun& run) {
  const TrainedJob trained = TrainJob(training_, run, [&] { return BeginPublishing(run); });
  // Before anybody sees that it has ended.
  run.memory = MemoryLedger::Share();
  JobChange change;
  for (;;) {
    absl::Status kept;
    {
      absl::MutexLock lock(&mu_);
      // Under the lock that wishes are granted under, so that none is granted in vain.
      change = ChangeAtEnd(run, trained);
      change.time = clock_.Now();
      kept = Apply(run.id(), change);
      if (kept.ok()) running_.erase(run.id());
      const auto live = live_.find(run.id());
      if (trained.memory_bytes && live != live_.end()) {
        live->second.memory_bytes = trained.memory_bytes;
      }
    }
    if (kept.ok()) break;
    options_.on_warning(
        absl::StrCat("the end of job ", run.id(), " can't be kept yet: ", kept.message()));
    absl::MutexLock lock(&mu_);
    const auto is_stopping = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return stopping_; };
    if (mu_.AwaitWithTimeout(absl::Condition(&is_stopping), options_.retry_interval)) {
      // It stays RUNNING in the store, and the next start finds out how far it came.
      running_.erase(run.id());
      return;
    }
  }
  if (IsFinal(change.state)) checkpoints_.Remove(run.id());
  TellChanges();
  watchers_.WakeAll();
}

}  // namespace convd
