#include "tests/crash/crash_run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/crash/data_ledger.h"
#include "tests/crash/ledger.h"
#include "tests/crash/server_life.h"
#include "tests/crash/state_folder.h"
#include "tests/crash/workload.h"
#include "tests/end_to_end/server_process.h"
#include "tests/end_to_end/small_fashion.h"

namespace convd {
namespace {

namespace fs = std::filesystem;

// What the kinds of job become on a server that nobody disturbs.
void MakeReferences(const CrashFolders& folders, std::vector<JobKind>& kinds) {
  const std::unique_ptr<ServerProcess> server =
      ServerProcess::Start(folders.state, {"--data-dir", folders.data});
  ASSERT_NE(server, nullptr);
  const std::unique_ptr<Client> client = server->Connect();
  ASSERT_NE(client, nullptr);
  v1::RegisterDatasetRequest registration;
  registration.set_name("fashion");
  registration.set_path(folders.data);
  ASSERT_TRUE(client->RegisterDataset(registration).ok());
  // Twice, since a model.onnx that differed from run to run would compare with nothing.
  for (int64_t version = 1; version <= 2; ++version) {
    for (JobKind& kind : kinds) {
      const auto submitted = client->Train(kind.request);
      ASSERT_TRUE(submitted.ok()) << submitted.status();
      const auto job = client->Watch(submitted->id(), [](const v1::JobEvent&) {});
      ASSERT_TRUE(job.ok()) << job.status();
      ASSERT_EQ(job->state(), v1::JOB_STATE_SUCCEEDED) << job->ShortDebugString();
      const std::string folder =
          absl::StrCat(folders.state, "/models/", kind.request.model(), "/", version);
      const std::string onnx = ReadFile(folder + "/model.onnx");
      const v1::ModelCard card = Comparable(ReadCard(folder));
      if (version == 1) {
        kind.onnx = onnx;
        kind.card = card;
      }
      ASSERT_FALSE(onnx.empty());
      ASSERT_EQ(kind.onnx, onnx) << folder << " differs from the run before";
      ASSERT_EQ(kind.card.ShortDebugString(), card.ShortDebugString());
    }
  }
}

class CrashRun {
 public:
  // `slowness`: how much longer lives have to be here than on a quick machine.
  CrashRun(const CrashOptions& options, CrashFolders folders, const std::vector<JobKind>& kinds,
           double slowness)
      : options_(options),
        folders_(std::move(folders)),
        kinds_(kinds),
        slowness_(slowness),
        ledger_(kinds),
        random_(options.seed) {}

  CrashReport Run();

 private:
  // How the life that begins now will end.
  struct Plan {
    absl::Duration after;               // a life's length, or until strace comes
    std::optional<KillPoint> at_start;  // strace is there from the start
    std::optional<KillPoint> later;     // strace comes to a running server
    int concurrent_jobs = 1;
  };

  absl::Status Prepare();
  Plan NextPlan();
  void Live(const Plan& plan);
  // Ends the life as planned; returns the moment in words.
  std::string End(ServerLife& life, const Plan& plan);
  void CheckDeadFolder();
  void LastLife();
  // Those that weren't compared yet, or all.
  void CheckVersions(bool all);
  double Uniform() { return std::uniform_real_distribution<double>(0, 1)(random_); }

  const CrashOptions options_;
  const CrashFolders folders_;
  const std::vector<JobKind>& kinds_;
  const double slowness_;
  Ledger ledger_;
  DataLedger data_{ledger_};
  std::mt19937_64 random_;
  std::map<std::string, int64_t> calls_;  // of an unbroken life
  std::map<std::string, int64_t> moments_;
  std::set<Ledger::VersionId> compared_;
  int64_t kills_ = 0, before_listening_ = 0;
};

// Registers the dataset, and counts the calls of a life that isn't broken off.
absl::Status CrashRun::Prepare() {
  const bool count = !StracePath().empty();
  if (!count) {
    std::printf("strace isn't there, or may not trace: all kills come at random moments\n");
  }
  // Much of what the first life does is done only once, so the second is the one that is counted.
  for (const bool first : {true, false}) {
    ledger_.BeginLife();
    const std::unique_ptr<ServerLife> life =
        ServerLife::Start(folders_, 1, std::nullopt, count && !first);
    const std::string address = life == nullptr ? "" : life->AwaitAddress();
    if (address.empty()) return absl::InternalError("the server doesn't come up");
    {
      Workload workload(address, *life, ledger_, data_, random_);
      if (first) {
        const absl::Status registered = workload.RegisterDataset(folders_.data);
        if (!registered.ok()) return registered;
      }
      // About as much as happens in a life that is broken off.
      for (size_t kind = 0; kind < 3; ++kind) workload.Submit(kind);
      for (int i = 0; i < 20; ++i) workload.DoSomething(0);
      if (!workload.FinishAll(kPatience)) return absl::InternalError("the first jobs don't end");
    }
    life->Kill();
    life->AwaitEnd(kPatience);
  }
  if (!count) return absl::OkStatus();
  calls_ = CountCalls(folders_.trace);
  std::string text;
  for (const auto& [call, most] : calls_) absl::StrAppend(&text, " ", call, " ", most);
  std::printf("calls of an unbroken life, in the thread with the most:%s\n", text.c_str());
  return absl::OkStatus();
}

CrashRun::Plan CrashRun::NextPlan() {
  Plan plan;
  const double dice = Uniform();
  plan.after = slowness_ * absl::Milliseconds(2000 * Uniform());
  plan.concurrent_jobs = 1 + static_cast<int>(random_() % 2);
  if (calls_.empty() || dice < 0.3) return plan;
  // Each kind of call now and then, and those that there are many of more often.
  std::vector<double> weights;
  for (const auto& [call, most] : calls_) weights.push_back(std::sqrt(static_cast<double>(most)));
  std::discrete_distribution<int> choose(weights.begin(), weights.end());
  const auto chosen = std::next(calls_.begin(), choose(random_));
  if (dice < 0.75) {
    // A thread's early calls are met by every life, its late ones only by long lives: square what
    // is drawn, so that the early ones aren't rare.
    const double share = Uniform();
    const auto nth = 1 + static_cast<int64_t>(share * share * static_cast<double>(chosen->second));
    plan.at_start = KillPoint{chosen->first, nth};
    plan.after = slowness_ * absl::Seconds(2.5);
  } else {
    plan.later = KillPoint{
        chosen->first,
        1 + static_cast<int64_t>(random_() % std::clamp<int64_t>(chosen->second / 4, 1, 6))};
  }
  return plan;
}

std::string CrashRun::End(ServerLife& life, const Plan& plan) {
  const bool ended = life.AwaitEnd(plan.after);
  if (plan.at_start.has_value()) {
    if (ended) return DescribeEnd(folders_.trace, plan.at_start->call);
    life.Kill();
    return "random (the call was never made)";
  }
  if (plan.later.has_value() && !ended) {
    fs::remove(folders_.trace);
    life.KillAtNext(*plan.later);
    if (life.AwaitEnd(slowness_ * absl::Seconds(2)))
      return DescribeEnd(folders_.trace, plan.later->call);
    life.Kill();
    return "random (the call was never made)";
  }
  life.Kill();
  return "random";
}

void CrashRun::Live(const Plan& plan) {
  ledger_.BeginLife();
  const auto left = TemporaryFiles(folders_.state);
  const std::unique_ptr<ServerLife> life =
      ServerLife::Start(folders_, plan.concurrent_jobs, plan.at_start);
  ASSERT_NE(life, nullptr);
  std::string moment;
  std::thread end([&] { moment = End(*life, plan); });
  if (const std::string address = life->AwaitAddress(); address.empty()) {
    ++before_listening_;
  } else {
    for (const std::string& fault : OutlivedTemporaries(folders_.state, left)) {
      ledger_.Fault(fault);
    }
    Workload workload(address, *life, ledger_, data_, random_);
    workload.CompareWithLedger(false);
    workload.CheckCheckpoints(folders_.state);
    const size_t most_live = 1 + random_() % 4;
    while (workload.ok() && !life->AwaitEnd(absl::Milliseconds(random_() % 40))) {
      workload.DoSomething(most_live);
    }
    end.join();
    life->AwaitEnd(kPatience);
  }
  if (end.joinable()) end.join();
  if (const std::string other = life->OtherEnd(); !other.empty()) {
    ledger_.Fault(other);
    return;
  }
  ++kills_;
  ++moments_[moment];
  ledger_.Killed(NewestCheckpoints(folders_.state));
  CheckDeadFolder();
}

void CrashRun::CheckDeadFolder() {
  // Reading all of them after each kill would take longer than the lives do.
  if (kills_ % 10 == 0) {
    for (const std::string& fault : DamagedVersions(folders_.state, kinds_)) ledger_.Fault(fault);
  }
  for (const std::string& fault : StrayCheckpoints(folders_.state)) ledger_.Fault(fault);
  CheckVersions(false);
}

void CrashRun::CheckVersions(bool all) {
  for (const auto& [id, version] : ledger_.versions()) {
    if (!compared_.insert(id).second && !all) continue;
    for (const std::string& fault : DifferingVersion(folders_.state, id.first, id.second,
                                                     kinds_[version.kind], version.job_id)) {
      ledger_.Fault(fault);
    }
    // Also where the server was killed between the version's publication and the job's end.
    const v1::JobState state = ledger_.State(version.job_id);
    if (all && state != v1::JOB_STATE_SUCCEEDED) {
      ledger_.Fault(absl::StrCat(id.first, ":", id.second, " is of job ", version.job_id,
                                 ", which is ", v1::JobState_Name(state)));
    }
  }
}

// Nobody disturbs this one: all jobs come to their end.
void CrashRun::LastLife() {
  ledger_.BeginLife();
  const auto left = TemporaryFiles(folders_.state);
  const std::unique_ptr<ServerLife> life = ServerLife::Start(folders_, 1, std::nullopt);
  ASSERT_NE(life, nullptr);
  const std::string address = life->AwaitAddress();
  ASSERT_FALSE(address.empty()) << life->OtherEnd();
  for (const std::string& fault : OutlivedTemporaries(folders_.state, left)) ledger_.Fault(fault);
  {
    Workload workload(address, *life, ledger_, data_, random_);
    workload.CompareWithLedger(true);
    if (!workload.FinishAll(5 * kPatience)) ledger_.Fault("not all jobs come to their end");
    workload.CompareWithLedger(true);
    workload.CheckCheckpoints(folders_.state);
    if (!ledger_.unanswered().empty()) ledger_.Fault("a request has no answer");
  }
  if (!TemporaryFiles(folders_.state).empty()) ledger_.Fault("tmp isn't empty after all jobs' end");
  if (!NewestCheckpoints(folders_.state).empty()) ledger_.Fault("checkpoints outlive all jobs");
  for (const std::string& fault : DamagedVersions(folders_.state, kinds_)) ledger_.Fault(fault);
  CheckVersions(true);
}

CrashReport CrashRun::Run() {
  CrashReport report;
  const absl::Time begin = absl::Now();
  if (const absl::Status ready = Prepare(); !ready.ok()) {
    report.faults.push_back(ready.ToString());
    return report;
  }
  // A fault of the test's own machinery must not make this endless.
  int64_t lives = 0;
  while (kills_ < options_.kills && lives++ < 2 * options_.kills &&
         absl::Now() - begin < options_.limit) {
    Live(NextPlan());
    if (lives % 25 == 0) {
      std::printf("%lld kills, %lld s\n", static_cast<long long>(kills_),
                  static_cast<long long>(absl::ToInt64Seconds(absl::Now() - begin)));
      std::fflush(stdout);
    }
  }
  LastLife();
  report.kills = kills_;
  report.faults = ledger_.faults();
  const Ledger::Totals totals = ledger_.totals();
  report.summary = absl::StrCat("seed ", options_.seed, ": ", kills_, " kills in ",
                                absl::ToInt64Seconds(absl::Now() - begin), " s, ",
                                before_listening_, " of them before the server listened\n");
  for (const auto& [moment, count] : moments_) {
    absl::StrAppend(&report.summary, "  ", count, "  ", moment, "\n");
  }
  absl::StrAppend(
      &report.summary, totals.jobs, " jobs acknowledged: ", totals.succeeded, " succeeded, ",
      totals.cancelled, " cancelled, ", totals.given_up, " given up after three crashes; ",
      totals.resumed, " began more than once; ", totals.epochs, " epochs and ",
      ledger_.versions().size(), " versions shown and kept; ", data_.uploads(), " uploads and ",
      data_.evaluations(), " evaluations acknowledged\n", report.faults.size(), " faults\n");
  for (const std::string& fault : report.faults) absl::StrAppend(&report.summary, fault, "\n");
  return report;
}

}  // namespace

CrashReport RunCrashes(const CrashOptions& options) {
  std::vector<JobKind> kinds = SmallJobKinds();
  const std::string data = options.folder + "/data";
  fs::create_directories(data);
  WriteIdxFiles(ReadSmallFashion(2000, 500), data);
  const absl::Time begin = absl::Now();
  MakeReferences({options.folder + "/undisturbed", data, options.folder + "/trace"}, kinds);
  CrashReport report;
  if (::testing::Test::HasFailure()) return report;
  // A sanitized build would else be killed each time before it has done anything.
  constexpr absl::Duration kUsual = absl::Seconds(8);
  const double slowness = std::clamp(absl::FDivDuration(absl::Now() - begin, kUsual), 1.0, 5.0);
  CrashRun run(options, {options.folder + "/state", data, options.folder + "/trace"}, kinds,
               slowness);
  return run.Run();
}

}  // namespace convd
