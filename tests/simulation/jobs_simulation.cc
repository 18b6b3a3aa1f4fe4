#include "tests/simulation/jobs_simulation.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"
#include "server/jobs/resolve.h"
#include "server/jobs/runner.h"
#include "server/jobs/store.h"
#include "server/jobs/transitions.h"
#include "server/models/version_folder.h"
#include "tests/core/time/hand_clock.h"
#include "tests/simulation/disk_vfs.h"
#include "tests/simulation/small_jobs.h"
#include "tests/simulation/watched_trainer.h"

namespace convd {
namespace {

constexpr char kState[] = "/state";
constexpr int64_t kUnknownPriority = INT64_MAX;

// What a client knows of a job.
struct Known {
  std::string request_id;
  int kind = 0;
  v1::JobState final_state = v1::JOB_STATE_UNSPECIFIED;  // once it was seen
  v1::JobState asked = v1::JOB_STATE_UNSPECIFIED;        // acknowledged, and not taken back since
  int64_t priority = 0;
  std::map<int64_t, double> losses;  // of the epochs that were seen
};

class Simulation {
 public:
  explicit Simulation(const SimulationOptions& options)
      : options_(options),
        random_(options.seed * 2 + 1),
        disk_(options.seed),
        vfs_(disk_, clock_, options.seed) {
    Must(disk_.CreateDirectories(kState));
    Must(disk_.SyncDirectory("/"));
    disk_.OnOperation([this](const SimulatedDisk::Operation& operation) {
      if (options_.on_operation) options_.on_operation(operation);
      return options_.ignore_sync && options_.ignore_sync(operation);
    });
    disk_.FailIf([this](const SimulatedDisk::Operation&) { return NextFault(); });
  }

  SimulationResult Run() {
    if (options_.scripted) {
      RunScript();
    } else {
      RunEvents();
    }
    if (faults_.empty()) RunToTheEnd();
    Close();
    counts_.operations = disk_.operations();
    return {std::move(faults_), counts_};
  }

 private:
  void RunEvents() {
    // The first start makes everything, and may be cut short, too.
    if (Below(4) == 0) Threaten();
    Open();
    for (int64_t event = 0; event < options_.events && faults_.empty(); ++event) {
      if (runner_ == nullptr || stopping_ || disk_.crashed()) Reopen();
      if (!faults_.empty()) break;
      if (Below(6) == 0) Threaten();
      Act();
    }
  }

  void RunScript() {
    // From the disk's first operation on.
    fault_in_ = options_.fault_at;
    survival_ = options_.survival;
    disk_.CrashAt(options_.cut_at);
    Open();
    const auto ready = [this] {
      if (runner_ == nullptr || disk_.crashed()) Reopen();
      return faults_.empty();
    };
    for (int kind = 0; kind < kSmallJobKinds && ready(); ++kind) Submit(kind);
    for (int kind = 0; kind < kSmallJobKinds && ready(); ++kind) RunOne();
    if (ready()) LookAtAll();
  }

  uint64_t Below(uint64_t bound) { return random_() % bound; }
  void Fault(const std::string& text) {
    faults_.push_back(absl::StrCat("after operation ", disk_.operations(), ": ", text));
  }
  void Must(const absl::Status& status) {
    if (!status.ok()) Fault(std::string(status.message()));
  }

  // Arms something that happens at one of the next operations on the disk.
  void Threaten() {
    const int64_t when = 1 + static_cast<int64_t>(Below(Below(3) == 0 ? 150 : 25));
    switch (Below(4)) {
      case 0:
        fault_in_ = when;
        return;
      case 1:
        // The process is killed, and the machine goes on.
        survival_.reset();
        break;
      default:
        survival_ = Below(4) == 0 ? Survival::kNothing : Survival::kBySeed;
    }
    disk_.CrashAt(when);
  }
  absl::Status NextFault() {
    if (fault_in_ == 0 || --fault_in_ > 0) return absl::OkStatus();
    ++counts_.disk_faults;
    disk_failed_ = true;
    if (!runs_.running().empty()) runs_.Of(runs_.running()).disk_failed = true;
    if (!options_.fault.ok()) return options_.fault;
    return Below(2) == 0 ? absl::ResourceExhaustedError("no space left on device")
                         : absl::InternalError("input/output error");
  }
  void EndThreats() {
    fault_in_ = 0;
    disk_.CrashAt(0);
  }

  // Something that clients, operators or time do.
  void Act() {
    switch (Below(12)) {
      case 0:
      case 1:
      case 2:
        return Submit();
      case 3:
        return Ask([&](const std::string& id) { return runner_->Cancel(id); },
                   v1::JOB_STATE_CANCELLED);
      case 4:
        return Ask([&](const std::string& id) { return runner_->Pause(id); }, v1::JOB_STATE_PAUSED);
      case 5:
        return Ask([&](const std::string& id) { return runner_->Resume(id, false); },
                   v1::JOB_STATE_QUEUED);
      case 6:
        return SetPriority();
      case 7:
        return clock_.Advance(absl::Seconds(Below(1000)));
      case 8:
        return LookAtAll();
      case 9:
        if (Below(3) == 0) Stop();
        return;
      default:
        // A job that runs ends, or is asked to, before another one begins.
        if (runs_.running().empty()) RunOne();
        return;
    }
  }

  void RunOne() {
    const int64_t begun = runs_.begun();
    runner_->RunOne();
    runs_.End();
    // The power went, or the disk failed, while a job's begin was written down: it may count as an
    // attempt after the next start.
    if ((disk_.crashed() || disk_failed_) && runs_.begun() == begun) ++deaths_at_begin_;
  }

  void Submit() {
    // Some of the ids come again, as those of clients that got no answer do.
    const int number = static_cast<int>(Below(static_cast<uint64_t>(submissions_) + 2));
    submissions_ = std::max(submissions_, number + 1);
    Submit(number);
  }
  void Submit(int number) {
    v1::TrainRequest request = SmallJob(number % kSmallJobKinds);
    request.set_request_id(absl::StrCat("r", number));
    absl::StatusOr<ResolvedJob> job = ResolveJob(request, SmallDatasets());
    if (!job.ok()) return Must(job.status());
    const absl::StatusOr<v1::Job> created = runner_->Submit(*std::move(job));
    if (!created.ok()) return;
    for (const auto& [id, known] : ledger_) {
      if (known.request_id == request.request_id() && id != created->id()) {
        return Fault(absl::StrCat(known.request_id, " made ", id, " and then ", created->id()));
      }
    }
    Known& known = ledger_[created->id()];
    if (known.request_id.empty()) ++counts_.submitted;
    known.request_id = request.request_id();
    known.kind = number % kSmallJobKinds;
    See(*created);
  }

  std::string SomeJob() {
    if (ledger_.empty()) return "";
    auto it = ledger_.begin();
    std::advance(it, Below(ledger_.size()));
    return it->first;
  }

  void Ask(const std::function<absl::StatusOr<v1::Job>(const std::string&)>& call,
           v1::JobState asked) {
    const std::string id = SomeJob();
    if (id.empty()) return;
    const absl::StatusOr<v1::Job> job = call(id);
    Known& known = ledger_[id];
    if (job.ok()) {
      // What was cancelled stays so.
      if (known.asked != v1::JOB_STATE_CANCELLED) known.asked = asked;
      See(*job);
    } else if (!absl::IsFailedPrecondition(job.status()) &&
               known.asked != v1::JOB_STATE_CANCELLED && known.asked != asked) {
      // Without an answer either may be.
      known.asked = v1::JOB_STATE_UNSPECIFIED;
    }
  }

  void SetPriority() {
    const std::string id = SomeJob();
    if (id.empty()) return;
    const int32_t priority = static_cast<int32_t>(Below(5)) - 2;
    const absl::StatusOr<v1::Job> job = runner_->SetPriority(id, priority);
    if (absl::IsFailedPrecondition(job.status())) return;
    ledger_[id].priority = job.ok() ? priority : kUnknownPriority;
    if (job.ok()) See(*job);
  }

  void LookAtAll() {
    for (const auto& [id, known] : ledger_) {
      const absl::StatusOr<v1::Job> job = runner_->Get(id);
      if (job.ok()) See(*job);
      if (absl::IsNotFound(job.status())) Fault(absl::StrCat(id, " was accepted and is gone"));
    }
  }

  // Holds what a client is shown against what it was shown before.
  void See(const v1::Job& job) {
    Known& known = ledger_[job.id()];
    const std::string state(StateName(job.state()));
    if (known.final_state != v1::JOB_STATE_UNSPECIFIED && job.state() != known.final_state) {
      Fault(absl::StrCat(job.id(), " had ended, and is ", state));
    }
    if (known.priority != kUnknownPriority && job.priority() != known.priority) {
      Fault(absl::StrCat(job.id(), " has priority ", job.priority(), "; it was given ",
                         known.priority));
    }
    std::map<int64_t, double> losses;
    for (const v1::EpochRecord& record : job.history()) losses[record.epoch()] = record.loss();
    for (const auto& [epoch, loss] : known.losses) {
      const auto it = losses.find(epoch);
      if (it == losses.end() || std::memcmp(&it->second, &loss, sizeof loss) != 0) {
        Fault(absl::StrCat(job.id(), ": the record of epoch ", epoch, " is gone or another one"));
      }
    }
    known.losses = std::move(losses);
    if (IsFinal(job.state()) && known.final_state == v1::JOB_STATE_UNSPECIFIED) {
      known.final_state = job.state();
      CheckEnd(job, known);
    }
  }

  void CheckEnd(const v1::Job& job, const Known& known) {
    const Runs::Run& run = runs_.Of(job.id());
    switch (job.state()) {
      case v1::JOB_STATE_SUCCEEDED:
        ++counts_.succeeded;
        if (known.asked == v1::JOB_STATE_CANCELLED) {
          Fault(absl::StrCat(job.id(), " was cancelled, and succeeded"));
        }
        return CheckVersion(job, known.kind);
      case v1::JOB_STATE_CANCELLED:
        ++counts_.cancelled;
        return CheckUnpublished(job);
      default: {
        ++counts_.failed;
        if (known.asked == v1::JOB_STATE_CANCELLED) {
          Fault(absl::StrCat(job.id(), " was cancelled, and failed"));
        }
        const bool given_up = job.error().code() == static_cast<int>(absl::StatusCode::kAborted);
        if (given_up ? run.deaths + deaths_at_begin_ < kMaxCrashes : !run.disk_failed) {
          Fault(absl::StrCat(job.id(), " failed: ", job.error().message()));
        }
        return CheckUnpublished(job);
      }
    }
  }

  void CheckUnpublished(const v1::Job& job) {
    for (const v1::Model& model : models_->List("")) {
      if (model.card().job_id() != job.id()) continue;
      Fault(absl::StrCat(job.id(), " is ", std::string(StateName(job.state())), ", and published"));
    }
  }

  void CheckVersion(const v1::Job& job, int kind) {
    const std::string path =
        absl::StrCat(kState, "/models/", job.result().name(), "/", job.result().version());
    const absl::StatusOr<CheckedWeights> weights = ReadCheckedWeights(disk_, path, job.result());
    if (disk_.crashed()) return;
    if (!weights.ok()) {
      return Fault(absl::StrCat(job.id(), " succeeded, but ", weights.status().message()));
    }
    if (weights->card.job_id() != job.id()) {
      Fault(absl::StrCat(path, " is job ", weights->card.job_id(), "'s, not ", job.id(), "'s"));
    }
    const std::vector<float>& want = UnbrokenWeights(kind);
    if (weights->parameters.size() != want.size() ||
        std::memcmp(weights->parameters.data(), want.data(), want.size() * sizeof want[0]) != 0) {
      Fault(absl::StrCat(job.id(), " has other weights than the unbroken run"));
    }
  }

  // Clients, time and the disk go on while a job runs.
  void BetweenSteps() {
    clock_.Advance(absl::Milliseconds(Below(4000)));
    if (options_.scripted || quiet_ || stopping_ || disk_.crashed() || !faults_.empty() ||
        Below(4) > 0)
      return;
    if (Below(8) == 0) Threaten();
    Act();
  }

  void Open() {
    stopping_ = false;
    disk_failed_ = false;
    const absl::Status opened = [&]() -> absl::Status {
      CONVD_ASSIGN_OR_RETURN(models_, ModelRepository::Open(disk_, clock_, kState));
      CONVD_ASSIGN_OR_RETURN(store_, OpenSqliteJobStore(disk_, kState, vfs_.name()));
      return StartRunner();
    }();
    if (!opened.ok()) {
      // The server says why and ends; whoever runs it starts it again.
      runner_.reset();
      if (!disk_.crashed() && !disk_failed_) Fault(absl::StrCat("can't start: ", opened.message()));
      return;
    }
    for (const std::string& warning : models_->TakeWarnings()) {
      const bool expected = absl::StrContains(warning, "change of the models was interrupted");
      if (!expected && !disk_failed_ && !disk_.crashed()) Fault(warning);
    }
    Verify();
  }

  absl::Status StartRunner() {
    JobRunnerOptions options;
    options.concurrent_jobs = 0;
    options.retry_interval = absl::ZeroDuration();
    options.checkpoints.interval = absl::Seconds(5);
    options.instruction_set = "simulated";
    options.on_change = [this](const v1::Job& job) { runs_.OnChange(job); };
    options.on_warning = [this](const std::string&) {
      // A change that can't be kept is tried again, for as long as the machine is on.
      if (runner_ != nullptr && disk_.crashed()) runner_->Stop();
    };
    CONVD_ASSIGN_OR_RETURN(
        runner_,
        JobRunner::Start(
            *store_, *models_, disk_, kState,
            [](const v1::TrainRequest& request) { return ResolveJob(request, SmallDatasets()); },
            [this](const Graph& graph, const v1::TrainRequest& request, TrainingData data,
                   absl::Span<const float>) {
              return MakeWatchedTrainer(
                  graph, request, std::move(data), *executor_, clock_, runs_,
                  [this] { BetweenSteps(); }, [this](const std::string& fault) { Fault(fault); });
            },
            clock_, std::move(options)));
    return absl::OkStatus();
  }

  void Close() {
    runner_.reset();
    store_.reset();
    models_.reset();
  }

  void Stop() {
    ++counts_.stops;
    runner_->Stop();
    stopping_ = true;
  }

  void Reopen() {
    for (int attempt = 0; attempt < 20; ++attempt) {
      Close();  // an orderly end may be cut short, too
      if (disk_.crashed()) {
        if (survival_.has_value()) {
          ++counts_.power_cuts;
          disk_.Restart(*survival_);
        } else {
          ++counts_.kills;
          disk_.RestartProcess();
        }
      }
      runs_.OnRestart();
      if (attempt > 3) EndThreats();
      Open();
      if (!faults_.empty() || (runner_ != nullptr && !disk_.crashed())) return;
    }
    Fault("the server doesn't start any more");
  }

  // Everything that was acknowledged is so, and nothing else lies about.
  void Verify() {
    LookAtAll();
    const absl::StatusOr<std::vector<LiveJob>> live = store_->Live();
    if (disk_.crashed() || disk_failed_) return;
    if (!live.ok()) return Must(live.status());
    std::set<std::string> ids;
    for (const LiveJob& job : *live) {
      ids.insert(job.id);
      if (job.state == v1::JOB_STATE_RUNNING) Fault(absl::StrCat(job.id, " runs at the start"));
      const auto it = ledger_.find(job.id);
      if (it == ledger_.end()) continue;
      if (it->second.asked == v1::JOB_STATE_CANCELLED) {
        Fault(absl::StrCat(job.id, " was cancelled, and lives on"));
      }
      if (it->second.asked == v1::JOB_STATE_PAUSED && job.state != v1::JOB_STATE_PAUSED) {
        Fault(absl::StrCat(job.id, " was paused, and isn't"));
      }
    }
    if (const auto left = disk_.List(absl::StrCat(kState, "/tmp")); left.ok() && !left->empty()) {
      Fault(absl::StrCat("tmp/", left->front(), " was left there"));
    }
    if (const auto jobs = disk_.List(absl::StrCat(kState, "/checkpoints")); jobs.ok()) {
      for (const std::string& id : *jobs) {
        if (ids.count(id) == 0) Fault(absl::StrCat("checkpoints/", id, " is of no job that lives"));
      }
    }
    for (const auto& [id, known] : ledger_) {
      if (known.final_state != v1::JOB_STATE_SUCCEEDED) continue;
      const absl::StatusOr<v1::Job> job = store_->Get(id, JobParts::kListed);
      if (!job.ok()) return Must(job.status());
      if (!models_->Get(job->result()).ok()) Fault(absl::StrCat(id, "'s version is gone"));
    }
    std::set<std::string> published;
    for (const v1::Model& model : models_->List("")) {
      if (!published.insert(model.card().job_id()).second) {
        Fault(absl::StrCat(model.card().job_id(), " was published twice"));
      }
    }
  }

  void RunToTheEnd() {
    EndThreats();
    Reopen();
    if (!faults_.empty()) return;
    quiet_ = true;
    for (auto& [id, known] : ledger_) {
      if (runner_->Get(id)->state() != v1::JOB_STATE_PAUSED) continue;
      Must(runner_->Resume(id, false).status());
      known.asked = v1::JOB_STATE_UNSPECIFIED;
    }
    while (runner_->RunOne()) runs_.End();
    LookAtAll();
    for (const auto& [id, known] : ledger_) {
      if (known.final_state == v1::JOB_STATE_UNSPECIFIED) {
        Fault(absl::StrCat(id, " was accepted and has not come to its end"));
      }
    }
    counts_.resumed = runs_.resumed();
    // What lies there then is what the next start finds.
    Close();
    Open();
  }

  const SimulationOptions& options_;
  std::mt19937_64 random_;
  std::map<std::string, Known> ledger_;  // by job id
  Runs runs_;
  int submissions_ = 0;
  int64_t deaths_at_begin_ = 0;
  int64_t fault_in_ = 0;                                  // operations; 0: none is armed
  std::optional<Survival> survival_ = Survival::kBySeed;  // of the next cut; unset: a kill
  bool disk_failed_ = false;                              // since the start
  bool stopping_ = false;
  bool quiet_ = false;  // nothing happens while jobs run
  std::vector<std::string> faults_;
  SimulationCounts counts_;

  SimulatedDisk disk_;
  HandClock clock_;
  DiskVfs vfs_;
  const std::unique_ptr<HandCrankedExecutor> executor_ = NewHandCrankedExecutor();
  std::unique_ptr<ModelRepository> models_;
  std::unique_ptr<JobStore> store_;
  std::unique_ptr<JobRunner> runner_;
};

}  // namespace

void SimulationCounts::Add(const SimulationCounts& more) {
  submitted += more.submitted;
  succeeded += more.succeeded;
  cancelled += more.cancelled;
  failed += more.failed;
  power_cuts += more.power_cuts;
  kills += more.kills;
  stops += more.stops;
  disk_faults += more.disk_faults;
  resumed += more.resumed;
  operations += more.operations;
}

std::string SimulationCounts::Text() const {
  return absl::StrCat(submitted, " jobs (", succeeded, " succeeded, ", cancelled, " cancelled, ",
                      failed, " failed), ", resumed, " resumed; ", power_cuts, " power cuts, ",
                      kills, " kills, ", stops, " stops, ", disk_faults, " disk faults in ",
                      operations, " operations");
}

SimulationResult SimulateJobs(const SimulationOptions& options) {
  return Simulation(options).Run();
}

}  // namespace convd
