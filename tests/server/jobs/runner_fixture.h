#ifndef CONVD_TESTS_SERVER_JOBS_RUNNER_FIXTURE_H_
#define CONVD_TESTS_SERVER_JOBS_RUNNER_FIXTURE_H_

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "server/jobs/runner.h"
#include "server/jobs/transitions.h"
#include "tests/server/jobs/fake_training.h"
#include "tests/server/jobs/watch_reader.h"

namespace convd {

// Waits, as training does between cuts, until it is asked to end.
inline absl::Status UntilCancelled(TrainingObserver& observer) {
  while (!observer.Cancelled()) std::this_thread::yield();
  return absl::CancelledError("at a cut");
}

// A store that can be told to keep nothing.
class FailingStore final : public JobStore {
 public:
  absl::StatusOr<v1::Job> Create(JobRecord record, absl::Time now) override {
    return inner_->Create(std::move(record), now);
  }
  absl::Status Apply(const std::string& id, const JobChange& change) override {
    if (failures.load() > 0) {
      --failures;
      return absl::ResourceExhaustedError("disk full");
    }
    return inner_->Apply(id, change);
  }
  absl::Status Settle() override { return inner_->Settle(); }
  absl::Status SetWish(const std::string& id, v1::JobState wished) override {
    return inner_->SetWish(id, wished);
  }
  absl::Status SetPriority(const std::string& id, int32_t priority) override {
    return inner_->SetPriority(id, priority);
  }
  absl::Status AllowDifferentBits(const std::string& id) override {
    return inner_->AllowDifferentBits(id);
  }
  absl::StatusOr<JobRecord> GetRecord(const std::string& id) override {
    return inner_->GetRecord(id);
  }
  absl::StatusOr<std::vector<LiveJob>> Live() override { return inner_->Live(); }
  absl::Status PutEpoch(const std::string& id, const v1::EpochRecord& record) override {
    if (epochs_fail) return absl::ResourceExhaustedError("disk full");
    return inner_->PutEpoch(id, record);
  }
  absl::StatusOr<v1::Job> Get(const std::string& id, JobParts parts) override {
    return inner_->Get(id, parts);
  }
  absl::StatusOr<v1::JobState> State(const std::string& id) override { return inner_->State(id); }
  absl::StatusOr<std::vector<v1::EpochRecord>> Epochs(const std::string& id, int64_t after_epoch,
                                                      int64_t limit) override {
    return inner_->Epochs(id, after_epoch, limit);
  }
  absl::StatusOr<SentRequest> FindRequest(const std::string& request_id) override {
    return inner_->FindRequest(request_id);
  }
  absl::StatusOr<std::vector<v1::Job>> List(const std::string& before_id, int64_t limit) override {
    return inner_->List(before_id, limit);
  }

  std::atomic<int> failures{0};
  std::atomic<bool> epochs_fail{false};

 private:
  const std::unique_ptr<JobStore> inner_ = *NewInMemoryJobStore();
};

class RunnerTest : public ::testing::Test {
 protected:
  // Scripts by the job's model name; a job without one ends at once.
  void Script(const std::string& model, convd::Script script) {
    absl::MutexLock lock(&mu_);
    scripts_[model] = std::move(script);
  }
  void Start(JobRunnerOptions options = {}) {
    options.retry_interval = absl::Milliseconds(1);
    options.on_warning = [this, tell = std::move(options.on_warning)](const std::string& warning) {
      {
        absl::MutexLock lock(&mu_);
        warnings_.push_back(warning);
      }
      tell(warning);
    };
    auto runner = JobRunner::Start(
        store_, models_, FileSystem::Posix(), state_dir_,
        [this](const v1::TrainRequest& request) -> absl::StatusOr<ResolvedJob> {
          if (resolve_failures_.load() == 0) return ResolveStored(request);
          --resolve_failures_;
          return absl::InternalError("the disk fails");
        },
        [this](const Graph&, const v1::TrainRequest& request, TrainingData,
               absl::Span<const float> initial) -> absl::StatusOr<std::unique_ptr<Trainer>> {
          absl::MutexLock lock(&mu_);
          initial_.assign(initial.begin(), initial.end());
          order_.push_back(request.model());
          if (request.model() == "no-trainer") return absl::InvalidArgumentError("data: too odd");
          const auto it = scripts_.find(request.model());
          auto trainer = std::make_unique<ScriptedTrainer>(
              it != scripts_.end() ? it->second
                                   : [](TrainingObserver&, std::vector<v1::EpochRecord>&) {
                                       return absl::OkStatus();
                                     });
          if (request.model() == "digits") trainer->Warn("something is left out");
          trainer->on_save = on_save_;
          trainer_ = trainer.get();
          return trainer;
        },
        clock_, std::move(options));
    ASSERT_TRUE(runner.ok()) << runner.status();
    runner_ = *std::move(runner);
  }
  std::string Submit(const std::string& model) {
    const auto job = runner_->Submit(JobFor(model));
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? job->id() : "";
  }
  // A job that runs until it is cancelled; returns once it does.
  std::string SubmitHolding(const std::string& model) {
    auto begun = std::make_shared<absl::Notification>();
    Script(model, [begun](TrainingObserver& observer, std::vector<v1::EpochRecord>&) {
      // After a restart it runs again.
      if (!begun->HasBeenNotified()) begun->Notify();
      return UntilCancelled(observer);
    });
    const std::string id = Submit(model);
    begun->WaitForNotification();
    return id;
  }
  v1::JobState State(const std::string& id) { return runner_->Get(id)->state(); }
  // The job's state once the runner has come to what it was asked for.
  v1::Job AwaitState(const std::string& id, v1::JobState state) {
    for (;;) {
      v1::Job job = *runner_->Get(id);
      if (job.state() == state || IsFinal(job.state())) return job;
      std::this_thread::yield();
    }
  }
  std::vector<std::string> order() {
    absl::MutexLock lock(&mu_);
    return order_;
  }

  std::vector<std::string> warnings() {
    absl::MutexLock lock(&mu_);
    return warnings_;
  }

  const TestStateDir test_state_dir_;
  const std::string& state_dir_ = test_state_dir_.path();
  HandClock clock_;
  FailingStore store_;
  RecordingRepository models_;
  std::atomic<int> resolve_failures_{0};  // of the next times that a job is resolved again
  absl::Mutex mu_;
  std::map<std::string, convd::Script> scripts_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> order_ ABSL_GUARDED_BY(mu_);  // models, as their jobs began
  std::function<void()> on_save_ ABSL_GUARDED_BY(mu_);   // called by every trainer's Save
  std::vector<float> initial_ ABSL_GUARDED_BY(mu_);      // weights, of the last job
  std::vector<std::string> warnings_ ABSL_GUARDED_BY(mu_);
  std::atomic<const Trainer*> trainer_{nullptr};  // of the job that began last
  std::unique_ptr<JobRunner> runner_;             // last: its threads use the rest
};

}  // namespace convd

#endif  // CONVD_TESTS_SERVER_JOBS_RUNNER_FIXTURE_H_
