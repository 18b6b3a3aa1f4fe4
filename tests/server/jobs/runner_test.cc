#include "server/jobs/runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "tests/server/jobs/runner_fixture.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(RunnerTest, ASubmittedJobTrainsAndIsPublishedWithItsCard) {
  JobRunnerOptions options;
  options.instruction_set = "avx2";
  options.library_versions["oneDNN"] = "2.6.3";
  std::vector<std::string> warnings;
  options.on_warning = [&](const std::string& warning) { warnings.push_back(warning); };
  Start(std::move(options));
  Script("digits", [this](TrainingObserver& observer, std::vector<v1::EpochRecord>& history) {
    clock_.Advance(absl::Seconds(7));
    history = {Epoch(1), Epoch(2)};
    for (const v1::EpochRecord& record : history) observer.OnEpoch(record);
    TrainingProgress last = ProgressAt(2, 100);
    last.validating = true;
    last.seconds_left = 5;
    observer.OnProgress(last);
    return absl::OkStatus();
  });
  const auto submitted = runner_->Submit(JobFor("digits"));
  ASSERT_TRUE(submitted.ok()) << submitted.status();
  EXPECT_EQ(submitted->request().model(), "digits");
  EXPECT_EQ(submitted->summary(), "the table\n");
  EXPECT_THAT(submitted->warnings(), ElementsAre("a warning"));

  const v1::Job job = AwaitEnd(*runner_, submitted->id());
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(job.result().name(), "digits");
  EXPECT_EQ(job.result().version(), 1);
  EXPECT_EQ(job.history_size(), 2);
  EXPECT_EQ(job.ended().seconds() - job.started().seconds(), 7);
  EXPECT_FALSE(job.has_error());
  // Where it stood; but nothing of it goes on.
  EXPECT_EQ(job.progress().step(), 100);
  EXPECT_EQ(job.progress().seconds_left(), 0);
  EXPECT_FALSE(job.progress().validating());

  ASSERT_EQ(models_.cards().size(), 1u);
  const v1::ModelCard card = models_.cards()[0];
  EXPECT_EQ(card.job_id(), job.id());
  EXPECT_EQ(card.request().model(), "digits");
  EXPECT_EQ(card.network().layers_size(), 2);
  EXPECT_EQ(card.parameters(), 10);  // 4 x 2 weights and 2 biases
  EXPECT_THAT(card.labels(), ElementsAre("cat", "dog"));
  EXPECT_EQ(card.data_sha256(), "5ca1ab1e");
  EXPECT_THAT(card.training_pixels().mean(), ElementsAre(33));
  EXPECT_EQ(card.history_size(), 2);
  EXPECT_EQ(card.validation().accuracy(), 0.75);
  EXPECT_EQ(card.quantization().samples(), 3);
  ASSERT_EQ(card.served_size(), 1);
  EXPECT_EQ(card.served(0).precision(), v1::PRECISION_BF16);
  EXPECT_EQ(card.instruction_set(), "avx2");
  EXPECT_EQ(card.library_versions().at("oneDNN"), "2.6.3");
  EXPECT_EQ(card.training_seconds(), 7);
  EXPECT_THAT(warnings, ElementsAre("job " + job.id() + " (model digits): something is left out"));
  EXPECT_THAT(models_.parameters(), ElementsAre(1, 2, 3));
}

TEST_F(RunnerTest, AJobMayBeginWithAnEarlierVersionAndKeepsItsHistory) {
  Start();
  Script("m", [](TrainingObserver&, std::vector<v1::EpochRecord>& history) {
    history = {Epoch(1), Epoch(2)};
    return absl::OkStatus();
  });
  AwaitEnd(*runner_, Submit("m"));
  ResolvedJob job = JobFor("m");
  for (int64_t version = 1; version <= 2; ++version) {
    job.request.mutable_initial_model()->set_name("m");
    job.request.mutable_initial_model()->set_version(version);
    EXPECT_EQ(AwaitEnd(*runner_, runner_->Submit(job)->id()).state(), v1::JOB_STATE_SUCCEEDED);
  }
  {
    absl::MutexLock lock(&mu_);
    EXPECT_THAT(initial_, ElementsAre(1, 2, 3));
  }
  ASSERT_EQ(models_.cards().size(), 3u);
  EXPECT_EQ(models_.cards()[0].earlier_history_size(), 0);
  EXPECT_EQ(models_.cards()[1].earlier_history_size(), 2);
  EXPECT_EQ(models_.cards()[2].earlier_history_size(), 4);
  EXPECT_EQ(models_.cards()[2].earlier_history(2).epoch(), 1);
  EXPECT_EQ(models_.cards()[2].history_size(), 2);

  job.request.mutable_initial_model()->set_name("gone");
  const v1::Job failed = AwaitEnd(*runner_, runner_->Submit(job)->id());
  EXPECT_EQ(failed.state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(failed.error().code(), 5);  // NOT_FOUND
}

TEST_F(RunnerTest, JobsRunInTheOrderOfSubmissionOneAtATime) {
  Start();
  const std::string first = SubmitHolding("first");
  std::vector<std::string> ids;
  for (const char* model : {"a", "b", "c"}) ids.push_back(Submit(model));
  EXPECT_EQ(State(first), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(runner_->Get(first)->queue_position(), 0);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(State(ids[i]), v1::JOB_STATE_QUEUED);
    EXPECT_EQ(runner_->Get(ids[i])->queue_position(), i + 1);
  }
  ASSERT_TRUE(runner_->Cancel(first).ok());
  for (const std::string& id : ids) {
    EXPECT_EQ(AwaitEnd(*runner_, id).state(), v1::JOB_STATE_SUCCEEDED);
  }
  EXPECT_THAT(order(), ElementsAre("first", "a", "b", "c"));
}

TEST_F(RunnerTest, AsManyRunAtATimeAsTheOptionsSay) {
  JobRunnerOptions options;
  options.concurrent_jobs = 2;
  Start(std::move(options));
  const std::string a = SubmitHolding("a");
  const std::string b = SubmitHolding("b");
  const std::string c = Submit("c");
  EXPECT_EQ(State(a), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(State(b), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(State(c), v1::JOB_STATE_QUEUED);
  ASSERT_TRUE(runner_->Cancel(b).ok());
  EXPECT_EQ(AwaitEnd(*runner_, c).state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(State(a), v1::JOB_STATE_RUNNING);
}

TEST_F(RunnerTest, AFailedJobSaysWhyAndTheNextOneRuns) {
  Start();
  Script("nan", [](TrainingObserver&, std::vector<v1::EpochRecord>&) {
    return absl::DataLossError("epoch 2, step 7: the loss is nan");
  });
  Script("greedy", [](TrainingObserver&, std::vector<v1::EpochRecord>&) -> absl::Status {
    throw std::bad_alloc();
  });
  const std::string nan = Submit("nan");
  const std::string odd = Submit("no-trainer");
  const std::string greedy = Submit("greedy");
  const std::string good = Submit("good");
  EXPECT_EQ(AwaitEnd(*runner_, good).state(), v1::JOB_STATE_SUCCEEDED);
  const v1::Job job = *runner_->Get(nan);
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(job.error().code(), 15);  // google.rpc.Code.DATA_LOSS
  EXPECT_EQ(job.error().message(), "epoch 2, step 7: the loss is nan");
  EXPECT_EQ(runner_->Get(odd)->error().code(), 3);     // INVALID_ARGUMENT
  EXPECT_EQ(runner_->Get(greedy)->error().code(), 8);  // RESOURCE_EXHAUSTED
  EXPECT_EQ(models_.cards().size(), 1u);
}

TEST_F(RunnerTest, AFailedPublicationFailsTheJob) {
  models_.on_publish = [] { return absl::ResourceExhaustedError("/state: disk full"); };
  Start();
  const v1::Job job = AwaitEnd(*runner_, Submit("m"));
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(job.error().code(), 8);
  EXPECT_EQ(job.error().message(), "/state: disk full");
  EXPECT_FALSE(job.has_result());
}

TEST_F(RunnerTest, AFullQueueRefusesMore) {
  JobRunnerOptions options;
  options.max_waiting = 2;
  Start(std::move(options));
  const std::string holding = SubmitHolding("holding");
  Submit("a");
  Submit("b");
  const absl::Status full = runner_->Submit(JobFor("c")).status();
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()), HasSubstr("2 jobs wait"));
  EXPECT_EQ(runner_->List("", 10)->size(), 3u);
}

TEST_F(RunnerTest, WithoutRoomOnTheDiskNothingNewIsAcceptedOrBegun) {
  absl::Mutex mu;
  absl::Status room;
  const auto set_room = [&](absl::Status status) {
    absl::MutexLock lock(&mu);
    room = std::move(status);
  };
  JobRunnerOptions options;
  std::atomic<int64_t> asked{0};
  absl::Notification warned;
  options.take_room = [&](int64_t bytes) {
    absl::MutexLock lock(&mu);
    if (bytes > 0) asked = bytes;
    return room;
  };
  options.on_warning = [&](const std::string&) { warned.Notify(); };
  Start(std::move(options));
  const std::string holding = SubmitHolding("holding");
  ResolvedJob waiting_job = JobFor("waits");
  waiting_job.request.set_request_id("again");
  const std::string waiting = runner_->Submit(waiting_job)->id();
  // Three checkpoints of four floats a parameter, a version of one, and a MiB.
  EXPECT_EQ(asked.load(), 13 * 4 * waiting_job.graph.parameter_count() + (1 << 20));

  set_room(absl::ResourceExhaustedError("the disk is full"));
  const absl::Status refused = runner_->Submit(JobFor("new")).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(refused.message(), "the disk is full");
  EXPECT_EQ(runner_->Submit(waiting_job)->id(), waiting);
  EXPECT_EQ(runner_->List("", 10)->size(), 2u);
  ASSERT_TRUE(runner_->Cancel(holding).ok());
  EXPECT_EQ(AwaitEnd(*runner_, holding).state(), v1::JOB_STATE_CANCELLED);
  warned.WaitForNotification();  // a second one would end the test
  EXPECT_EQ(State(waiting), v1::JOB_STATE_QUEUED);
  EXPECT_THAT(warnings(), ElementsAre(HasSubstr("goes on waiting: the disk is full")));

  set_room(absl::OkStatus());
  EXPECT_EQ(AwaitEnd(*runner_, waiting).state(), v1::JOB_STATE_SUCCEEDED);
  runner_ = nullptr;  // it asks for room till its end
}

// peer-faults: a retried submit must not train twice.
TEST_F(RunnerTest, TheSameRequestIdGivesTheSameJob) {
  Start();
  ResolvedJob job = JobFor("m");
  job.request.set_request_id("retry-1");
  const v1::Job first = *runner_->Submit(job);
  EXPECT_EQ(runner_->Submit(job)->id(), first.id());
  EXPECT_EQ(AwaitEnd(*runner_, first.id()).state(), v1::JOB_STATE_SUCCEEDED);
  const v1::Job again = *runner_->Submit(job);
  EXPECT_EQ(again.id(), first.id());
  EXPECT_EQ(again.state(), v1::JOB_STATE_SUCCEEDED);

  job.request.set_epochs(11);
  const absl::Status other = runner_->Submit(job).status();
  EXPECT_EQ(other.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(other.message()), HasSubstr(first.id()));

  job.request.set_request_id("retry-2");
  const std::string second = runner_->Submit(job)->id();
  EXPECT_NE(second, first.id());
  EXPECT_NE(Submit("m"), Submit("m"));  // without an id, each is a job of its own
  EXPECT_EQ(runner_->List("", 10)->size(), 4u);
}

TEST_F(RunnerTest, CancellingAQueuedJobEndsItAtOnce) {
  Start();
  const std::string holding = SubmitHolding("holding");
  const std::string a = Submit("a");
  const std::string b = Submit("b");
  const auto cancelled = runner_->Cancel(a);
  ASSERT_TRUE(cancelled.ok()) << cancelled.status();
  EXPECT_EQ(cancelled->state(), v1::JOB_STATE_CANCELLED);
  EXPECT_TRUE(cancelled->has_ended());
  EXPECT_FALSE(cancelled->has_started());
  EXPECT_EQ(runner_->Get(b)->queue_position(), 1);
  ASSERT_TRUE(runner_->Cancel(holding).ok());
  EXPECT_EQ(AwaitEnd(*runner_, b).state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_THAT(order(), ElementsAre("holding", "b"));
}

TEST_F(RunnerTest, CancellingARunningJobEndsItAtTheNextCutAndPublishesNothing) {
  Start();
  Script("m", [](TrainingObserver& observer, std::vector<v1::EpochRecord>&) {
    observer.OnProgress(ProgressAt(3, 7));
    return UntilCancelled(observer);
  });
  const std::string id = Submit("m");
  WatchReader reader(*runner_, id);
  v1::JobEvent event;
  while (!event.has_progress() && event.job().progress().epoch() == 0) {
    ASSERT_TRUE(reader.Read(event));
  }
  EXPECT_TRUE(runner_->Cancel(id).ok());
  const v1::Job job = AwaitEnd(*runner_, id);
  EXPECT_EQ(job.state(), v1::JOB_STATE_CANCELLED);
  EXPECT_FALSE(job.has_error());
  EXPECT_EQ(job.progress().epoch(), 3);
  EXPECT_EQ(job.progress().step(), 7);
  EXPECT_TRUE(models_.cards().empty());
}

TEST_F(RunnerTest, CancellingTwiceIsAsGoodAsOnce) {
  Start();
  absl::Notification go_on;
  absl::Notification begun;
  Script("m", [&](TrainingObserver& observer, std::vector<v1::EpochRecord>&) {
    begun.Notify();
    go_on.WaitForNotification();
    return UntilCancelled(observer);
  });
  const std::string id = Submit("m");
  begun.WaitForNotification();
  EXPECT_TRUE(runner_->Cancel(id).ok());
  EXPECT_TRUE(runner_->Cancel(id).ok());
  go_on.Notify();
  EXPECT_EQ(AwaitEnd(*runner_, id).state(), v1::JOB_STATE_CANCELLED);
}

// The trainer didn't look again, but the user was told that the job is cancelled.
TEST_F(RunnerTest, ACancellationAfterTheLastCutStillWinsOverThePublication) {
  Start();
  absl::Notification trained;
  absl::Notification cancelled;
  Script("m", [&](TrainingObserver&, std::vector<v1::EpochRecord>&) {
    trained.Notify();
    cancelled.WaitForNotification();
    return absl::OkStatus();
  });
  const std::string id = Submit("m");
  trained.WaitForNotification();
  EXPECT_TRUE(runner_->Cancel(id).ok());
  cancelled.Notify();
  EXPECT_EQ(AwaitEnd(*runner_, id).state(), v1::JOB_STATE_CANCELLED);
  EXPECT_TRUE(models_.cards().empty());
}

TEST_F(RunnerTest, ACancellationDuringThePublicationLosesAndIsToldSo) {
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
  const absl::Status late = runner_->Cancel(id).status();
  EXPECT_EQ(late.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(late.message()), HasSubstr("published"));
  go_on.Notify();
  EXPECT_EQ(AwaitEnd(*runner_, id).state(), v1::JOB_STATE_SUCCEEDED);
  const absl::Status ended = runner_->Cancel(id).status();
  EXPECT_EQ(ended.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(ended.message()), HasSubstr("SUCCEEDED"));
}

TEST_F(RunnerTest, CancellingAJobThatIsNoneSaysSo) {
  Start();
  EXPECT_EQ(runner_->Cancel("j-20260131-235959-042").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(runner_->Cancel("nonsense").status().code(), absl::StatusCode::kInvalidArgument);
}

// What broke must not pass for what nobody asked for.
TEST_F(RunnerTest, ARunThatCallsItselfCancelledUnaskedHasFailed) {
  Start();
  Script("m", [](TrainingObserver&, std::vector<v1::EpochRecord>&) {
    return absl::CancelledError("by nobody");
  });
  const v1::Job job = AwaitEnd(*runner_, Submit("m"));
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(job.error().code(), 1);
}

TEST_F(RunnerTest, AnEpochThatCannotBeKeptFailsTheJob) {
  Start();
  store_.epochs_fail = true;
  Script("m", [](TrainingObserver& observer, std::vector<v1::EpochRecord>&) {
    observer.OnEpoch(Epoch(1));
    return observer.Cancelled() ? absl::CancelledError("at a cut") : absl::OkStatus();
  });
  const v1::Job job = AwaitEnd(*runner_, Submit("m"));
  EXPECT_EQ(job.state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(job.error().code(), 8);
  EXPECT_THAT(job.error().message(), HasSubstr("disk full"));
  EXPECT_TRUE(models_.cards().empty());
}

TEST_F(RunnerTest, SavingTakesTwoPercentOfTheTimeAtMost) {
  constexpr absl::Duration kSave = absl::Milliseconds(300), kStep = absl::Milliseconds(10);
  int saves = 0;
  {
    absl::MutexLock lock(&mu_);
    on_save_ = [&] {
      ++saves;
      clock_.Advance(kSave);
    };
  }
  absl::Duration took;
  // Epochs of a second, which would each be saved if that cost nothing.
  Script("m", [&](TrainingObserver& observer, std::vector<v1::EpochRecord>& history) {
    const absl::Duration begin = clock_.Monotonic();
    for (int step = 1; step <= 100'000; ++step) {
      clock_.Advance(kStep);
      if (step % 100 == 0) {
        history.push_back(Epoch(step / 100));
        observer.OnEpoch(history.back());
      } else if (!observer.WantsCheckpoint()) {
        continue;
      }
      CONVD_RETURN_IF_ERROR(observer.OnCheckpoint(*trainer_));
    }
    took = clock_.Monotonic() - begin;
    return absl::OkStatus();
  });
  Start();
  EXPECT_EQ(AwaitEnd(*runner_, Submit("m")).state(), v1::JOB_STATE_SUCCEEDED);
  // 1,000 s, of which a save may take 0.3 each 15.
  EXPECT_LE(saves * kSave, 0.02 * took);
  EXPECT_GE(saves, 60);
}

TEST_F(RunnerTest, ACancelledJobIsCancelledWhateverElseBreaks) {
  Start();
  absl::Notification begun, cancelled;
  Script("m", [&](TrainingObserver&, std::vector<v1::EpochRecord>&) {
    begun.Notify();
    cancelled.WaitForNotification();
    return absl::DataLossError("epoch 1, step 3: the loss is nan");
  });
  const std::string id = Submit("m");
  begun.WaitForNotification();
  ASSERT_TRUE(runner_->Cancel(id).ok());
  cancelled.Notify();
  const v1::Job job = AwaitEnd(*runner_, id);
  EXPECT_EQ(job.state(), v1::JOB_STATE_CANCELLED);
  EXPECT_FALSE(job.has_error());
}

// It may have been published, which the next start finds out.
TEST_F(RunnerTest, AJobWhoseEndTheStopCutOffIsNotActedOn) {
  absl::Notification tried;
  JobRunnerOptions options;
  options.on_warning = [&](const std::string&) {
    if (!tried.HasBeenNotified()) tried.Notify();
  };
  Start(std::move(options));
  Script("m", [this](TrainingObserver&, std::vector<v1::EpochRecord>&) {
    store_.failures = 1'000'000;
    return absl::OkStatus();
  });
  const std::string id = Submit("m");
  tried.WaitForNotification();
  runner_->Stop();
  ASSERT_TRUE(runner_->AwaitIdle(absl::InfiniteDuration()));
  store_.failures = 0;
  EXPECT_EQ(models_.cards().size(), 1u);
  EXPECT_TRUE(absl::IsUnavailable(runner_->Cancel(id).status()));
  EXPECT_TRUE(absl::IsUnavailable(runner_->Pause(id).status()));
  EXPECT_EQ(State(id), v1::JOB_STATE_RUNNING);
}

TEST_F(RunnerTest, AStoreThatFailsForAWhileHoldsJobsUpAndLosesNone) {
  absl::Mutex mu;
  std::vector<std::string> warnings;
  JobRunnerOptions options;
  options.on_warning = [&](const std::string& warning) {
    absl::MutexLock lock(&mu);
    warnings.push_back(warning);
  };
  Start(std::move(options));
  store_.failures = 2;  // the job's beginning
  Script("m", [this](TrainingObserver&, std::vector<v1::EpochRecord>&) {
    store_.failures = 3;  // its end
    return absl::OkStatus();
  });
  const std::string id = Submit("m");
  EXPECT_EQ(AwaitEnd(*runner_, id).state(), v1::JOB_STATE_SUCCEEDED);
  absl::MutexLock lock(&mu);
  const auto end = HasSubstr("the end of job " + id + " can't be kept yet: disk full");
  EXPECT_THAT(warnings,
              ElementsAre(HasSubstr("no job can begin, and what waits goes on waiting: disk full"),
                          end, end, end));
}

TEST_F(RunnerTest, CancellationsFromManyThreadsLeaveEveryJobEndedOnce) {
  absl::Mutex mu;
  std::map<std::string, int> ends;
  JobRunnerOptions options;
  options.concurrent_jobs = 3;
  options.on_change = [&](const v1::Job& job) {
    absl::MutexLock lock(&mu);
    if (IsFinal(job.state())) ++ends[job.id()];
  };
  Start(std::move(options));
  constexpr int kJobs = 60;
  std::vector<std::string> ids;
  for (int i = 0; i < kJobs; ++i) ids.push_back(Submit("m"));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = t % 2; i < kJobs; i += 2) runner_->Cancel(ids[i]).IgnoreError();
    });
  }
  for (std::thread& thread : threads) thread.join();
  int succeeded = 0;
  for (const std::string& id : ids) {
    const v1::Job job = AwaitEnd(*runner_, id);
    EXPECT_TRUE(job.state() == v1::JOB_STATE_SUCCEEDED || job.state() == v1::JOB_STATE_CANCELLED);
    succeeded += job.state() == v1::JOB_STATE_SUCCEEDED;
  }
  EXPECT_EQ(models_.cards().size(), static_cast<size_t>(succeeded));
  runner_.reset();  // the last changes have been told of
  absl::MutexLock lock(&mu);
  EXPECT_EQ(ends.size(), static_cast<size_t>(kJobs));
  for (const auto& [id, count] : ends) EXPECT_EQ(count, 1) << id;
}

TEST_F(RunnerTest, ChangesAreToldInTheOrderInWhichTheyHappened) {
  absl::Mutex mu;
  std::map<std::string, std::vector<v1::JobState>> told;
  JobRunnerOptions options;
  options.concurrent_jobs = 2;
  options.on_change = [&](const v1::Job& job) {
    absl::MutexLock lock(&mu);
    told[job.id()].push_back(job.state());
  };
  Start(std::move(options));
  constexpr int kJobs = 300;
  std::vector<std::string> ids;
  for (int i = 0; i < kJobs; ++i) ids.push_back(Submit("m"));
  for (const std::string& id : ids) AwaitEnd(*runner_, id);
  runner_.reset();  // the last end has been told, too
  for (const std::string& id : ids) {
    EXPECT_THAT(told[id], ::testing::ElementsAre(v1::JOB_STATE_QUEUED, v1::JOB_STATE_RUNNING,
                                                 v1::JOB_STATE_SUCCEEDED))
        << id;
  }
}

}  // namespace
}  // namespace convd
