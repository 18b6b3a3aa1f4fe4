#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "core/status/status_macros.h"
#include "tests/server/jobs/runner_fixture.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// What becomes of jobs when they are paused, when the server stops or dies, and at the next start.
class RestartTest : public RunnerTest {
 protected:
  // A job of three epochs, saved after each, that goes on from where it was saved. It notes the
  // epoch that it begins with, and holds before the epoch `hold` until it is asked to end.
  void ScriptThreeEpochs(const std::string& model, int64_t hold = 0) {
    hold_ = hold;
    Script(model, [this](TrainingObserver& observer, std::vector<v1::EpochRecord>& history) {
      {
        absl::MutexLock lock(&mu_);
        began_after_.push_back(static_cast<int64_t>(history.size()));
      }
      for (int64_t e = static_cast<int64_t>(history.size()) + 1; e <= 3; ++e) {
        observer.OnProgress(ProgressAt(e, 1));
        if (e == hold_) {
          holds_ = true;
          while (!observer.Cancelled() && !killed_) std::this_thread::yield();
          // A process that is killed saves nothing.
          return killed_ ? absl::InternalError("killed") : absl::CancelledError("at a cut");
        }
        clock_.Advance(absl::Seconds(10));
        history.push_back(Epoch(e));
        observer.OnEpoch(history.back());
        CONVD_RETURN_IF_ERROR(observer.OnCheckpoint(*trainer_));
      }
      return absl::OkStatus();
    });
  }
  void AwaitHolding() {
    while (!holds_) std::this_thread::yield();
    holds_ = false;
  }
  // As though the process had been killed: the store and the checkpoints stay as they are now.
  void Kill() {
    store_.failures = 1'000'000;
    killed_ = true;
    runner_.reset();
    killed_ = false;
    store_.failures = 0;
  }
  std::vector<int64_t> began_after() {
    absl::MutexLock lock(&mu_);
    return began_after_;
  }
  bool HasCheckpoints(const std::string& id) {
    return FileSystem::Posix().Exists(state_dir_ + "/checkpoints/" + id);
  }

  std::atomic<int64_t> hold_{0};
  std::atomic<bool> holds_{false};
  std::atomic<bool> killed_{false};
  std::vector<int64_t> began_after_ ABSL_GUARDED_BY(mu_);
};

TEST_F(RestartTest, StoppingSavesWhatRunsAndTheNextStartGoesOn) {
  Start();
  ScriptThreeEpochs("m", 3);
  const std::string id = Submit("m");
  const std::string waiting = Submit("later");
  AwaitHolding();
  runner_->Stop();
  EXPECT_TRUE(runner_->AwaitIdle(absl::InfiniteDuration()));
  EXPECT_EQ(State(id), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(State(waiting), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(runner_->Submit(JobFor("new")).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(order(), ElementsAre("m"));
  runner_.reset();

  hold_ = 0;
  Start();
  const v1::Job job = AwaitEnd(*runner_, id);
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(job.attempts(), 2);
  EXPECT_EQ(job.history_size(), 3);
  EXPECT_EQ(AwaitEnd(*runner_, waiting).state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_THAT(order(), ElementsAre("m", "m", "later"));
  EXPECT_THAT(began_after(), ElementsAre(0, 2));
  EXPECT_FALSE(HasCheckpoints(id));
  // In all, and what the card says is what it took.
  EXPECT_EQ(models_.cards()[0].training_seconds(), 30);
  EXPECT_EQ(models_.cards()[0].history_size(), 3);
}

TEST_F(RestartTest, AKilledServersJobGoesOnFromItsCheckpointBeforeTheOthers) {
  Start();
  ScriptThreeEpochs("m", 2);
  const std::string id = Submit("m");
  const std::string waiting = Submit("later");
  AwaitHolding();
  Kill();
  EXPECT_EQ(*store_.State(id), v1::JOB_STATE_RUNNING);
  EXPECT_TRUE(HasCheckpoints(id));

  hold_ = 0;
  Start();
  EXPECT_THAT(warnings().back(), HasSubstr(id));
  EXPECT_EQ(AwaitEnd(*runner_, id).state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(AwaitEnd(*runner_, waiting).state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_THAT(order(), ElementsAre("m", "m", "later"));
  EXPECT_THAT(began_after(), ElementsAre(0, 1));
}

TEST_F(RestartTest, WhatWasPublishedBeforeTheEndWasWrittenDownIsNotPublishedTwice) {
  Start();
  store_.failures = 0;
  models_.on_publish = [this] {
    store_.failures = 1'000'000;  // from here on nothing is written down
    return absl::OkStatus();
  };
  const std::string id = Submit("m");
  while (warnings().empty()) std::this_thread::yield();
  Kill();
  EXPECT_EQ(*store_.State(id), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(models_.cards().size(), 1u);
  Start();
  // At once: a cancellation would come too late.
  const v1::Job job = *runner_->Get(id);
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(job.result().version(), 1);
  EXPECT_FALSE(runner_->Cancel(id).ok());
  EXPECT_EQ(models_.cards().size(), 1u);
  EXPECT_THAT(order(), ElementsAre("m"));
}

TEST_F(RestartTest, AJobThatKeepsEndingTheServerIsGivenUp) {
  std::string id;
  for (int crash = 0; crash < 3; ++crash) {
    ScriptThreeEpochs("bad", 1);
    Start();  // the job goes on at once
    if (crash == 0) id = Submit("bad");
    AwaitHolding();
    Kill();
  }
  Start();
  const v1::Job job = AwaitEnd(*runner_, id);
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(job.error().code(), 10);  // ABORTED
  EXPECT_THAT(job.error().message(), HasSubstr("3 times"));
  EXPECT_EQ(order().size(), 3u);
  EXPECT_EQ(AwaitEnd(*runner_, Submit("good")).state(), v1::JOB_STATE_SUCCEEDED);
}

// Else the two would be counted alike, and given up together.
TEST_F(RestartTest, AJobThatMayHaveEndedTheServerRunsAlone) {
  JobRunnerOptions two;
  two.concurrent_jobs = 2;
  std::string bad, good;
  for (int crash = 0; crash < 3; ++crash) {
    ScriptThreeEpochs("bad", 1);
    ScriptThreeEpochs("good", 1);
    Start(two);
    if (crash == 0) {
      bad = Submit("bad");
      AwaitHolding();
      good = Submit("good");
    }
    AwaitHolding();
    if (crash > 0) {
      EXPECT_EQ(State(bad), v1::JOB_STATE_RUNNING);
      EXPECT_EQ(State(good), v1::JOB_STATE_QUEUED);
    }
    Kill();
  }
  hold_ = 0;
  Start(two);
  EXPECT_EQ(AwaitEnd(*runner_, bad).state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(AwaitEnd(*runner_, good).state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_THAT(order(), ElementsAre("bad", "good", "bad", "bad", "good"));
}

TEST_F(RestartTest, ASuspectThatWasSavedAnewHasCompanyAgain) {
  JobRunnerOptions two;
  two.concurrent_jobs = 2;
  ScriptThreeEpochs("m", 1);
  Start(two);
  const std::string first = Submit("m");
  AwaitHolding();
  Kill();
  // It is saved after its first epoch, and holds in the second.
  ScriptThreeEpochs("m", 2);
  Start(two);
  AwaitHolding();
  Script("other",
         [](TrainingObserver&, std::vector<v1::EpochRecord>&) { return absl::OkStatus(); });
  EXPECT_EQ(AwaitEnd(*runner_, Submit("other")).state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(State(first), v1::JOB_STATE_RUNNING);
}

TEST_F(RestartTest, AJobThatGetsOnBetweenCrashesIsNot) {
  std::string id;
  // It gets an epoch further each second time.
  for (const int64_t hold : {1, 1, 2, 2, 3, 3}) {
    ScriptThreeEpochs("slow", hold);
    Start();  // the job goes on at once
    if (id.empty()) id = Submit("slow");
    AwaitHolding();
    Kill();
  }
  hold_ = 0;
  Start();
  EXPECT_EQ(AwaitEnd(*runner_, id).state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_THAT(began_after(), ElementsAre(0, 0, 0, 1, 1, 2, 2));
}

TEST_F(RestartTest, AnOrderlyStopIsNoCrash) {
  std::string id;
  for (int stop = 0; stop < 5; ++stop) {
    ScriptThreeEpochs("m", 1);
    Start();  // the job goes on at once
    if (stop == 0) id = Submit("m");
    AwaitHolding();
    runner_.reset();
  }
  hold_ = 0;
  Start();
  EXPECT_EQ(AwaitEnd(*runner_, id).state(), v1::JOB_STATE_SUCCEEDED);
}

TEST_F(RestartTest, APausedJobFreesItsPlaceAndGoesOnWhereItWas) {
  Start();
  ScriptThreeEpochs("m", 2);
  const std::string id = Submit("m");
  AwaitHolding();
  ASSERT_TRUE(runner_->Pause(id).ok());
  EXPECT_EQ(AwaitState(id, v1::JOB_STATE_PAUSED).state(), v1::JOB_STATE_PAUSED);
  EXPECT_EQ(AwaitEnd(*runner_, Submit("other")).state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_TRUE(runner_->Pause(id).ok());  // it is
  hold_ = 0;
  const auto resumed = runner_->Resume(id, false);
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_NE(resumed->state(), v1::JOB_STATE_PAUSED);
  EXPECT_EQ(AwaitEnd(*runner_, id).state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_THAT(began_after(), ElementsAre(0, 1));
  EXPECT_EQ(runner_->Pause(id).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(runner_->Resume(id, false).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(RestartTest, APausedJobStaysSoOverARestartAndCanBeCancelled) {
  Start();
  const std::string holding = SubmitHolding("holding");
  const std::string id = Submit("m");
  EXPECT_EQ(runner_->Pause(id)->state(), v1::JOB_STATE_PAUSED);
  EXPECT_EQ(runner_->Get(id)->queue_position(), 0);
  runner_.reset();
  Start();
  EXPECT_EQ(State(id), v1::JOB_STATE_PAUSED);
  EXPECT_EQ(runner_->Cancel(id)->state(), v1::JOB_STATE_CANCELLED);
  ASSERT_TRUE(runner_->Cancel(holding).ok());
}

// What a job was asked for and told is as good as done.
TEST_F(RestartTest, AWishSurvivesTheServersDeath) {
  for (const v1::JobState wish : {v1::JOB_STATE_PAUSED, v1::JOB_STATE_CANCELLED}) {
    Start();
    absl::Notification begun, killed;
    Script("deaf", [&](TrainingObserver&, std::vector<v1::EpochRecord>&) {
      begun.Notify();
      killed.WaitForNotification();
      return absl::InternalError("killed");
    });
    const std::string id = Submit("deaf");
    begun.WaitForNotification();
    ASSERT_TRUE((wish == v1::JOB_STATE_PAUSED ? runner_->Pause(id) : runner_->Cancel(id)).ok());
    store_.failures = 1'000'000;
    killed.Notify();
    Kill();
    EXPECT_EQ(*store_.State(id), v1::JOB_STATE_RUNNING);
    Start();
    EXPECT_EQ(State(id), wish);
    runner_.reset();
  }
}

TEST_F(RestartTest, OfTwoWishesTheLastOneThatCanBeMetCounts) {
  Start();
  absl::Notification begun, go_on;
  Script("m", [&](TrainingObserver& observer, std::vector<v1::EpochRecord>&) {
    begun.Notify();
    go_on.WaitForNotification();
    return UntilCancelled(observer);
  });
  const std::string id = Submit("m");
  begun.WaitForNotification();
  ASSERT_TRUE(runner_->Pause(id).ok());
  EXPECT_EQ(runner_->Resume(id, false).status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(runner_->Cancel(id).ok());
  EXPECT_EQ(runner_->Pause(id).status().code(), absl::StatusCode::kFailedPrecondition);
  go_on.Notify();
  EXPECT_EQ(AwaitEnd(*runner_, id).state(), v1::JOB_STATE_CANCELLED);
}

TEST_F(RestartTest, AnotherInstructionSetsCheckpointWaitsForItsUser) {
  JobRunnerOptions wide;
  wide.instruction_set = "avx512";
  Start(wide);
  ScriptThreeEpochs("m", 2);
  const std::string id = Submit("m");
  AwaitHolding();
  runner_.reset();

  hold_ = 0;
  JobRunnerOptions narrow;
  narrow.instruction_set = "avx2";
  Start(narrow);
  const v1::Job paused = AwaitState(id, v1::JOB_STATE_PAUSED);
  EXPECT_EQ(paused.state(), v1::JOB_STATE_PAUSED);
  EXPECT_EQ(paused.error().code(), 9);  // FAILED_PRECONDITION
  EXPECT_THAT(paused.error().message(), HasSubstr("avx512"));
  const absl::Status refused = runner_->Resume(id, false).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("allow_different_bits"));
  ASSERT_TRUE(runner_->Resume(id, true).ok());
  EXPECT_EQ(AwaitEnd(*runner_, id).state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_THAT(began_after(), ElementsAre(0, 1));
}

TEST_F(RestartTest, ADamagedCheckpointIsPassedOverForTheOneBefore) {
  Start();
  ScriptThreeEpochs("m", 3);
  const std::string id = Submit("m");
  AwaitHolding();
  Kill();
  FileSystem& fs = FileSystem::Posix();
  const std::string folder = state_dir_ + "/checkpoints/" + id;
  const std::vector<std::string> names = *fs.List(folder);
  ASSERT_EQ(names.size(), 2u);
  std::string bytes = *fs.Read(folder + "/" + names[1], 1 << 20);
  bytes[bytes.size() / 2] ^= 1;
  ASSERT_TRUE(WriteFileAtomically(fs, folder + "/" + names[1], bytes).ok());
  hold_ = 0;
  Start();
  EXPECT_EQ(AwaitEnd(*runner_, id).state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_THAT(began_after(), ElementsAre(0, 1));
  EXPECT_THAT(warnings().back(), HasSubstr("SHA-256"));
}

TEST_F(RestartTest, MaxRuntimeCountsOverRestarts) {
  Start();
  ScriptThreeEpochs("m", 3);
  ResolvedJob job = JobFor("m");
  job.request.mutable_max_runtime()->set_seconds(25);
  const std::string id = runner_->Submit(job)->id();
  AwaitHolding();  // 20 s have passed
  runner_.reset();
  Start();
  AwaitHolding();
  EXPECT_EQ(State(id), v1::JOB_STATE_RUNNING);
  clock_.Advance(absl::Seconds(5));
  const v1::Job ended = AwaitEnd(*runner_, id);
  EXPECT_EQ(ended.state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(ended.error().code(), 4);  // DEADLINE_EXCEEDED
  EXPECT_THAT(ended.error().message(), HasSubstr("max_runtime"));
  EXPECT_TRUE(models_.cards().empty());
}

TEST_F(RestartTest, PriorityThenAgeSayWhoIsNext) {
  Start();
  const std::string holding = SubmitHolding("holding");
  const std::string a = Submit("a");
  clock_.Advance(absl::Minutes(5));
  const std::string b = Submit("b");
  const std::string c = Submit("c");
  // A step is worth ten minutes: c goes before b, and before a, which has waited for five.
  ASSERT_TRUE(runner_->SetPriority(c, 1).ok());
  EXPECT_EQ(runner_->Get(c)->queue_position(), 1);
  EXPECT_EQ(runner_->Get(c)->priority(), 1);
  clock_.Advance(absl::Minutes(6));
  // a has waited for eleven minutes longer than d.
  ResolvedJob urgent = JobFor("d");
  urgent.request.set_priority(1);
  const std::string d = runner_->Submit(urgent)->id();
  EXPECT_EQ(runner_->Get(a)->queue_position(), 2);
  EXPECT_EQ(runner_->Get(d)->queue_position(), 3);
  EXPECT_EQ(runner_->Get(b)->queue_position(), 4);
  EXPECT_EQ(runner_->SetPriority(a, 101).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(runner_->SetPriority(holding, 1).status().code(),
            absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(runner_->Cancel(holding).ok());
  AwaitEnd(*runner_, b);
  EXPECT_THAT(order(), ElementsAre("holding", "c", "a", "d", "b"));
}

// peer-faults: a retried submit must not train twice.
TEST_F(RestartTest, FiftySubmitsOfOneRequestAtOnceMakeOneJob) {
  JobRunnerOptions nothing_runs;
  nothing_runs.concurrent_jobs = 0;
  Start(nothing_runs);
  ResolvedJob job = JobFor("m");
  job.request.set_request_id("once");
  std::vector<std::string> ids(50);
  std::vector<std::thread> threads;
  for (std::string& id : ids) {
    threads.emplace_back([&] { id = runner_->Submit(job)->id(); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(runner_->List("", 100)->size(), 1u);
  for (const std::string& id : ids) EXPECT_EQ(id, ids[0]);
}

TEST_F(RestartTest, TenThousandJobsWaitInLawfulOrder) {
  JobRunnerOptions options;
  options.concurrent_jobs = 0;
  Start(options);
  struct Waiting {
    int64_t rank;  // seconds
    std::string id;
  };
  std::vector<Waiting> expected;
  for (int i = 0; i < 10'000; ++i) {
    clock_.Advance(absl::Seconds(1));
    ResolvedJob job = JobFor("m" + std::to_string(i));
    job.request.set_priority(i * 7 % 11 - 5);
    const auto queued = runner_->Submit(std::move(job));
    ASSERT_TRUE(queued.ok()) << queued.status();
    expected.push_back({i - 600 * queued->priority(), queued->id()});
  }
  EXPECT_EQ(runner_->Submit(JobFor("one more")).status().code(),
            absl::StatusCode::kResourceExhausted);
  std::sort(expected.begin(), expected.end(), [](const Waiting& a, const Waiting& b) {
    return a.rank != b.rank ? a.rank < b.rank : a.id < b.id;
  });
  for (size_t i = 0; i < expected.size(); i += 97) {
    EXPECT_EQ(runner_->Get(expected[i].id)->queue_position(), static_cast<int64_t>(i) + 1);
  }
  for (size_t i = 0; i < 20; ++i) {
    ASSERT_TRUE(runner_->RunOne());
    EXPECT_EQ(State(expected[i].id), v1::JOB_STATE_SUCCEEDED);
  }
  // The same after a restart.
  runner_.reset();
  Start(options);
  EXPECT_EQ(runner_->Get(expected[20].id)->queue_position(), 1);
  EXPECT_EQ(runner_->Get(expected.back().id)->queue_position(), 9'980);
}

TEST_F(RestartTest, ADatasetThatAJobNeedsIsInUse) {
  Start();
  const std::string holding = SubmitHolding("holding");
  ResolvedJob job = JobFor("m");
  job.request.mutable_dataset()->set_name("digits");
  const std::string id = runner_->Submit(job)->id();
  const absl::Status used = runner_->CheckUnused("digits");
  EXPECT_EQ(used.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(used.message()), HasSubstr(id));
  EXPECT_TRUE(runner_->CheckUnused("letters").ok());
  ASSERT_TRUE(runner_->Cancel(id).ok());
  EXPECT_TRUE(runner_->CheckUnused("digits").ok());
  ASSERT_TRUE(runner_->Cancel(holding).ok());
}

TEST_F(RestartTest, LeftoversOfJobsThatEndedAreSweptAtTheStart) {
  FileSystem& fs = FileSystem::Posix();
  ASSERT_TRUE(fs.CreateDirectories(state_dir_ + "/checkpoints/j-20200101-000000-000").ok());
  ASSERT_TRUE(WriteFileAtomically(fs, state_dir_ + "/tmp/checkpoint-x", "half").ok());
  Start();
  EXPECT_TRUE(fs.List(state_dir_ + "/checkpoints")->empty());
  EXPECT_TRUE(fs.List(state_dir_ + "/tmp")->empty());
}

TEST_F(RunnerTest, StoppingLetsAPublicationEnd) {
  absl::Notification publishing;
  absl::Notification go_on;
  models_.on_publish = [&] {
    publishing.Notify();
    go_on.WaitForNotification();
    return absl::OkStatus();
  };
  Start();
  const std::string id = Submit("m");
  publishing.WaitForNotification();
  runner_->Stop();
  go_on.Notify();
  EXPECT_EQ(AwaitEnd(*runner_, id).state(), v1::JOB_STATE_SUCCEEDED);
}

}  // namespace
}  // namespace convd
