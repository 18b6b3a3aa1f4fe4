// What keeps a job that is next from beginning, and what the outside sees of that.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "server/memory_ledger.h"
#include "tests/server/jobs/runner_fixture.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class RunnerThreadsTest : public RunnerTest {
 protected:
  // Without threads: RunOne runs jobs on the test's own.
  void StartWithMemory(JobRunnerOptions options = {}) {
    options.concurrent_jobs = 0;
    options.memory = &memory_;
    Start(std::move(options));
  }
  std::string SubmitTaking(const std::string& model, int megabytes, int32_t priority = 0) {
    ResolvedJob job = JobFor(model);
    job.request.set_batch_size(megabytes);
    job.request.set_priority(priority);
    job.memory_bytes = MemoryFor(job.request);
    const auto created = runner_->Submit(job);
    EXPECT_TRUE(created.ok()) << created.status();
    return created.ok() ? created->id() : "";
  }
  // Calls `meanwhile` once while a job of this model trains.
  void WhileRunning(const std::string& model, std::function<void()> meanwhile) {
    Script(model, [meanwhile](TrainingObserver&, std::vector<v1::EpochRecord>&) {
      meanwhile();
      return absl::OkStatus();
    });
  }
  std::string WaitingFor(const std::string& id) { return runner_->Get(id)->waiting_for(); }

  MemoryLedger memory_{{.jobs = int64_t{100} << 20, .all = int64_t{120} << 20}};
};

TEST_F(RunnerThreadsTest, AJobThatDoesNotFitBesideAnotherWaitsAndSaysForWhat) {
  StartWithMemory();
  const std::string a = SubmitTaking("a", 60);
  const std::string b = SubmitTaking("b", 41);
  const std::string expected =
      "training takes about 41 MB of memory, and jobs may take 100 MB together; taken by "
      "job " +
      a + " 60 MB";
  EXPECT_EQ(WaitingFor(b), "");
  bool ran = false;
  WhileRunning("a", [&] {
    ran = true;
    EXPECT_FALSE(runner_->RunOne());
    EXPECT_EQ(State(b), v1::JOB_STATE_QUEUED);
    EXPECT_EQ(WaitingFor(b), expected);
    EXPECT_EQ(runner_->List("", 10)->front().waiting_for(), expected);
  });
  EXPECT_TRUE(runner_->RunOne());
  EXPECT_TRUE(ran);
  EXPECT_TRUE(runner_->RunOne());
  const v1::Job ended = *runner_->Get(b);
  EXPECT_EQ(ended.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(ended.waiting_for(), "");
}

TEST_F(RunnerThreadsTest, NoneBehindTheFirstOvertakesIt) {
  StartWithMemory();
  SubmitTaking("a", 60);
  SubmitTaking("b", 90);
  const std::string c = SubmitTaking("c", 1);
  WhileRunning("a", [&] {
    EXPECT_FALSE(runner_->RunOne());
    EXPECT_EQ(State(c), v1::JOB_STATE_QUEUED);
    EXPECT_EQ(WaitingFor(c), "");
  });
  while (runner_->RunOne()) {
  }
  EXPECT_THAT(order(), ElementsAre("a", "b", "c"));
}

TEST_F(RunnerThreadsTest, TheReasonIsOfWhatIsFirstNow) {
  StartWithMemory();
  SubmitTaking("a", 60);
  const std::string b = SubmitTaking("b", 90);
  WhileRunning("a", [&] {
    EXPECT_FALSE(runner_->RunOne());
    const std::string urgent = SubmitTaking("urgent", 50, /*priority=*/100);
    EXPECT_EQ(WaitingFor(b), "");
    EXPECT_EQ(WaitingFor(urgent), "");
    EXPECT_FALSE(runner_->RunOne());
    EXPECT_THAT(WaitingFor(urgent), HasSubstr("about 50 MB"));
    EXPECT_EQ(WaitingFor(b), "");
    ASSERT_TRUE(runner_->Pause(urgent).ok());
    EXPECT_EQ(WaitingFor(urgent), "");
    ASSERT_TRUE(runner_->Resume(urgent, false).ok());
    EXPECT_EQ(WaitingFor(urgent), "") << "it is not known before it is tried again";
  });
  while (runner_->RunOne()) {
  }
  EXPECT_THAT(order(), ElementsAre("a", "urgent", "b"));
}

TEST_F(RunnerThreadsTest, WatchersAreToldWhatAJobWaitsFor) {
  StartWithMemory();
  SubmitTaking("a", 60);
  const std::string b = SubmitTaking("b", 60);
  WatchReader reader(*runner_, b);
  v1::JobEvent event;
  ASSERT_TRUE(reader.Read(event));
  EXPECT_EQ(event.job().queue_position(), 2);
  WhileRunning("a", [&] {
    ASSERT_TRUE(reader.Read(event));
    EXPECT_EQ(event.job().queue_position(), 1);
    EXPECT_FALSE(runner_->RunOne());
    ASSERT_TRUE(reader.Read(event));
    EXPECT_THAT(event.job().waiting_for(), HasSubstr("training takes about 60 MB"));
    EXPECT_FALSE(runner_->RunOne());  // the same again is no news
  });
  while (runner_->RunOne()) {
  }
  ASSERT_TRUE(reader.Read(event));
  EXPECT_EQ(event.job().state(), v1::JOB_STATE_SUCCEEDED);
}

TEST_F(RunnerThreadsTest, MemoryIsGivenBackHoweverAJobEnds) {
  StartWithMemory();
  Script("fails", [](TrainingObserver&, std::vector<v1::EpochRecord>&) {
    return absl::InternalError("broken");
  });
  const std::string fails = SubmitTaking("fails", 100);
  const std::string no_trainer = SubmitTaking("no-trainer", 100);
  const std::string pauses = SubmitTaking("pauses", 100);
  WhileRunning("last", [] {});
  const std::string last = SubmitTaking("last", 100);
  Script("pauses", [&](TrainingObserver& observer, std::vector<v1::EpochRecord>&) {
    EXPECT_TRUE(runner_->Pause(pauses).ok());
    return UntilCancelled(observer);
  });
  while (runner_->RunOne()) {
  }
  EXPECT_EQ(State(fails), v1::JOB_STATE_FAILED);
  EXPECT_EQ(State(no_trainer), v1::JOB_STATE_FAILED);
  EXPECT_EQ(State(pauses), v1::JOB_STATE_PAUSED);
  EXPECT_EQ(State(last), v1::JOB_STATE_SUCCEEDED);
  EXPECT_TRUE(memory_.TakeForJob("all of it", int64_t{100} << 20).ok());
}

TEST_F(RunnerThreadsTest, AfterARestartItIsFoundOutAnewWhatAJobTakes) {
  StartWithMemory();
  const std::string a = SubmitTaking("a", 60);
  runner_ = nullptr;
  StartWithMemory();
  std::optional<MemoryLedger::Share> models = *memory_.TakeForModel(int64_t{70} << 20);
  EXPECT_FALSE(runner_->RunOne());
  EXPECT_THAT(WaitingFor(a),
              HasSubstr("takes about 60 MB of memory, and jobs and loaded models may "
                        "take 120 MB together; taken by 1 loaded model 70 MB"));
  models.reset();
  EXPECT_TRUE(runner_->RunOne());
  EXPECT_EQ(State(a), v1::JOB_STATE_SUCCEEDED);
}

TEST_F(RunnerThreadsTest, WhereItCannotBeFoundOutThenNothingIsTrainedWithoutIt) {
  StartWithMemory();
  const std::string a = SubmitTaking("a", 60);
  runner_ = nullptr;
  StartWithMemory();
  std::optional<MemoryLedger::Share> models = *memory_.TakeForModel(int64_t{70} << 20);
  resolve_failures_ = 1;
  EXPECT_TRUE(runner_->RunOne());
  EXPECT_EQ(State(a), v1::JOB_STATE_QUEUED) << "it begins, to say what fails, and nothing does";
  EXPECT_THAT(order(), IsEmpty());
  EXPECT_EQ(store_.GetRecord(a)->crashes, 0);
  EXPECT_FALSE(runner_->RunOne());
  EXPECT_THAT(WaitingFor(a), HasSubstr("takes about 60 MB of memory"));
  models.reset();
  EXPECT_TRUE(runner_->RunOne());
  EXPECT_EQ(State(a), v1::JOB_STATE_SUCCEEDED);

  const std::string b = SubmitTaking("b", 60);
  runner_ = nullptr;
  StartWithMemory();
  resolve_failures_ = 2;
  EXPECT_TRUE(runner_->RunOne());
  EXPECT_EQ(State(b), v1::JOB_STATE_FAILED) << "nor does it hold up the others";
  EXPECT_EQ(runner_->Get(b)->error().message(), "the disk fails");
}

TEST_F(RunnerThreadsTest, NothingIsWaitedForOnceAnotherJobHasTheLastPlace) {
  StartWithMemory();
  SubmitTaking("a", 60);
  const std::string b = SubmitTaking("b", 60);
  WhileRunning("a", [&] {
    EXPECT_FALSE(runner_->RunOne());
    EXPECT_NE(WaitingFor(b), "");
    SubmitTaking("small", 1, /*priority=*/100);
    EXPECT_TRUE(runner_->RunOne());
    EXPECT_EQ(WaitingFor(b), "") << "for a place, first of all";
  });
  while (runner_->RunOne()) {
  }
  EXPECT_THAT(order(), ElementsAre("a", "small", "b"));
}

TEST_F(RunnerThreadsTest, AFullDiskIsSomethingToWaitForToo) {
  JobRunnerOptions options;
  bool full = false;
  options.take_room = [&](int64_t) {
    return full ? absl::ResourceExhaustedError("the disk is full") : absl::OkStatus();
  };
  StartWithMemory(std::move(options));
  const std::string a = SubmitTaking("a", 1);
  full = true;
  EXPECT_FALSE(runner_->RunOne());
  EXPECT_EQ(WaitingFor(a), "the disk is full");
  full = false;
  EXPECT_TRUE(runner_->RunOne());
  EXPECT_EQ(State(a), v1::JOB_STATE_SUCCEEDED);
}

}  // namespace
}  // namespace convd
