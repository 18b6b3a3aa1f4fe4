#include "core/exec/executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <omp.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;

// What happened, in order.
class Record {
 public:
  void Add(std::string what) {
    absl::MutexLock lock(&mu_);
    what_.push_back(std::move(what));
  }
  std::vector<std::string> what() {
    absl::MutexLock lock(&mu_);
    return what_;
  }

 private:
  absl::Mutex mu_;
  std::vector<std::string> what_ ABSL_GUARDED_BY(mu_);
};

// Holds one worker inside a task of `lane` until Release().
class Plug {
 public:
  Plug(Executor& executor, Lane lane) {
    executor.Submit(lane, [gates = gates_] {
      gates->started.Notify();
      gates->release.WaitForNotification();
    });
    gates_->started.WaitForNotification();
  }
  void Release() { gates_->release.Notify(); }

 private:
  struct Gates {
    absl::Notification started;
    absl::Notification release;
  };
  // The task's too: it may still be waking up when the plug is gone.
  std::shared_ptr<Gates> gates_ = std::make_shared<Gates>();
};

// Lets nobody pass before `count` threads have come.
class MeetingPoint {
 public:
  explicit MeetingPoint(int count) : missing_(count) {}
  void Meet() {
    absl::MutexLock lock(&mu_);
    --missing_;
    mu_.Await(absl::Condition(+[](int* missing) { return *missing <= 0; }, &missing_));
  }

 private:
  absl::Mutex mu_;
  int missing_ ABSL_GUARDED_BY(mu_);
};

TEST(ThreadedExecutor, FreeWorkerTakesPredictThenEvaluateThenTrain) {
  Record record;
  {
    std::unique_ptr<Executor> executor = NewThreadedExecutor(1);
    Plug plug(*executor, Lane::kTrain);
    executor->Submit(Lane::kTrain, [&] { record.Add("t1"); });
    executor->Submit(Lane::kEvaluate, [&] { record.Add("e1"); });
    executor->Submit(Lane::kTrain, [&] { record.Add("t2"); });
    executor->Submit(Lane::kPredict, [&] { record.Add("p1"); });
    executor->Submit(Lane::kEvaluate, [&] { record.Add("e2"); });
    executor->Submit(Lane::kPredict, [&] { record.Add("p2"); });
    EXPECT_THAT(record.what(), IsEmpty());
    plug.Release();
  }
  EXPECT_THAT(record.what(), ElementsAre("p1", "p2", "e1", "e2", "t1", "t2"));
}

TEST(ThreadedExecutor, CutRunsWhatWaitsInTheLanesAboveAndNothingElse) {
  Record record;
  {
    std::unique_ptr<Executor> executor = NewThreadedExecutor(1);
    Plug plug(*executor, Lane::kPredict);
    executor->Submit(Lane::kEvaluate, [&] {
      executor->Submit(Lane::kTrain, [&] { record.Add("train"); });
      executor->Submit(Lane::kEvaluate, [&] { record.Add("evaluate"); });
      executor->Submit(Lane::kPredict, [&] { record.Add("predict 1"); });
      executor->Submit(Lane::kPredict, [&] { record.Add("predict 2"); });
      record.Add("before the cut");
      executor->Cut();
      record.Add("after the cut");
      executor->Cut();
      record.Add("end");
    });
    plug.Release();
  }
  EXPECT_THAT(record.what(), ElementsAre("before the cut", "predict 1", "predict 2",
                                         "after the cut", "end", "evaluate", "train"));
}

TEST(ThreadedExecutor, TaskThatRunsInsideACutCutsInItsOwnLane) {
  Record record;
  {
    std::unique_ptr<Executor> executor = NewThreadedExecutor(1);
    executor->Submit(Lane::kTrain, [&] {
      executor->Submit(Lane::kEvaluate, [&] {
        record.Add("evaluate 1 begins");
        executor->Submit(Lane::kEvaluate, [&] { record.Add("evaluate 2"); });
        executor->Submit(Lane::kPredict, [&] {
          record.Add("predict begins");
          executor->Submit(Lane::kPredict, [&] { record.Add("predict 2"); });
          executor->Cut();  // nothing is above it
          record.Add("predict ends");
        });
        executor->Cut();
        record.Add("evaluate 1 ends");
      });
      record.Add("train begins");
      executor->Cut();
      record.Add("train ends");
    });
  }
  EXPECT_THAT(record.what(),
              ElementsAre("train begins", "evaluate 1 begins", "predict begins", "predict ends",
                          "predict 2", "evaluate 1 ends", "evaluate 2", "train ends"));
}

// One worker, so the figures are exact at each point.
TEST(ThreadedExecutor, SaysWhatItsWorkersAreAt) {
  const std::unique_ptr<Executor> executor = NewThreadedExecutor(1);
  ExecutorUse training, predicting;
  absl::Notification ended;
  executor->ForEach(Lane::kTrain, 3, [&](int64_t i) {
    if (i != 1) return;
    training = executor->Use();
    executor->Submit(Lane::kPredict, [&] { predicting = executor->Use(); });
    executor->Cut();
  });
  executor->Submit(Lane::kEvaluate, [&] { ended.Notify(); });
  ended.WaitForNotification();
  EXPECT_THAT(training.busy, ::testing::ElementsAre(0, 0, 1));
  EXPECT_THAT(training.tasks, ::testing::ElementsAre(0, 0, 1));  // a loop is one
  EXPECT_THAT(predicting.busy, ::testing::ElementsAre(1, 0, 0));
  EXPECT_THAT(predicting.tasks, ::testing::ElementsAre(1, 0, 1));
  EXPECT_THAT(executor->Use().tasks, ::testing::ElementsAre(1, 1, 1));
  for (double seconds : executor->Use().wait_seconds) EXPECT_GT(seconds, 0);
}

TEST(ThreadedExecutor, CutOnAThreadThatIsNoWorkerDoesNothing) {
  Record record;
  std::unique_ptr<Executor> executor = NewThreadedExecutor(1);
  std::unique_ptr<Executor> other = NewThreadedExecutor(1);
  Plug plug(*executor, Lane::kTrain);
  executor->Submit(Lane::kPredict, [&] { record.Add("predict"); });
  executor->Cut();
  absl::Notification cut;
  other->Submit(Lane::kTrain, [&] {  // a worker, but not of this executor
    executor->Cut();
    cut.Notify();
  });
  cut.WaitForNotification();
  EXPECT_THAT(record.what(), IsEmpty());
  plug.Release();
  executor.reset();
  EXPECT_THAT(record.what(), ElementsAre("predict"));
}

TEST(ThreadedExecutor, SubmitReturnsBeforeTheTaskRunsEvenOnAWorker) {
  Record record;
  {
    std::unique_ptr<Executor> executor = NewThreadedExecutor(1);
    executor->Submit(Lane::kTrain, [&] {
      executor->Submit(Lane::kPredict, [&] { record.Add("inner"); });
      record.Add("outer");
    });
  }
  EXPECT_THAT(record.what(), ElementsAre("outer", "inner"));
}

TEST(ThreadedExecutor, EachTaskWakesAnIdleWorker) {
  constexpr int kWorkers = 4;
  std::unique_ptr<Executor> executor = NewThreadedExecutor(kWorkers);
  for (int round = 0; round < 200; ++round) {
    MeetingPoint together(kWorkers);  // all must be inside a task at once for any to go on
    absl::BlockingCounter finished(kWorkers);
    for (int i = 0; i < kWorkers; ++i) {
      executor->Submit(static_cast<Lane>(i % kLanes), [&] {
        together.Meet();
        finished.DecrementCount();
      });
    }
    finished.Wait();
  }
}

TEST(ThreadedExecutor, DestructorRunsWhatIsQueuedAndWhatThatSubmits) {
  for (int workers = 1; workers <= 3; ++workers) {
    std::atomic<int> ran = 0;
    {
      std::unique_ptr<Executor> executor = NewThreadedExecutor(workers);
      Plug plug(*executor, Lane::kTrain);
      for (int i = 0; i < 50; ++i) {
        executor->Submit(static_cast<Lane>(i % kLanes), [&ran, e = executor.get()] {
          ++ran;
          e->Submit(Lane::kTrain, [&ran, e] {
            ++ran;
            e->Submit(Lane::kPredict, [&ran] { ++ran; });
          });
        });
      }
      plug.Release();
    }
    EXPECT_EQ(ran.load(), 150) << workers << " workers";
  }
}

TEST(ThreadedExecutor, WhatATaskHoldsIsReleasedOnceItHasRun) {
  std::unique_ptr<Executor> executor = NewThreadedExecutor(1);
  auto held = std::make_shared<int>(7);
  std::weak_ptr<int> watch = held;
  executor->Submit(Lane::kPredict, [held = std::move(held)] {});
  absl::Notification next;
  executor->Submit(Lane::kPredict, [&] {
    EXPECT_TRUE(watch.expired());
    next.Notify();
  });
  next.WaitForNotification();
}

class ForEachOnWorkers : public ::testing::TestWithParam<int> {};

TEST_P(ForEachOnWorkers, CallsEachIndexOnceAndShowsItsWritesToTheCaller) {
  std::unique_ptr<Executor> executor = NewThreadedExecutor(GetParam());
  EXPECT_EQ(executor->workers(), GetParam());
  for (int64_t count : {0, 1, 2, 3, 7, 64, 1000}) {
    std::vector<int> calls(count);  // plain ints: a lost write or a race is a failure under TSan
    executor->ForEach(Lane::kTrain, count, [&](int64_t i) { calls[i] += static_cast<int>(i) + 1; });
    std::vector<int> expected(count);
    for (int64_t i = 0; i < count; ++i) expected[i] = static_cast<int>(i) + 1;
    EXPECT_THAT(calls, ElementsAreArray(expected));
  }
}

TEST_P(ForEachOnWorkers, SeesWhatEarlierOnesWrote) {
  std::unique_ptr<Executor> executor = NewThreadedExecutor(GetParam());
  constexpr int kSize = 64;
  std::vector<int64_t> values(kSize, 1);
  std::vector<int64_t> sums(kSize);
  for (int step = 0; step < 50; ++step) {
    executor->ForEach(Lane::kTrain, kSize,
                      [&](int64_t i) { sums[i] = values[i] + values[(i + 1) % kSize]; });
    executor->ForEach(Lane::kTrain, kSize, [&](int64_t i) { values[i] = sums[i] - values[i]; });
  }
  EXPECT_THAT(values, ElementsAreArray(std::vector<int64_t>(kSize, 1)));
}

TEST_P(ForEachOnWorkers, StageBeginsWhenAllOfTheOneBeforeHasReturned) {
  std::unique_ptr<Executor> executor = NewThreadedExecutor(GetParam());
  constexpr int kSize = 64, kStages = 200;
  std::vector<int64_t> values(kSize, 1);  // plain: a stage too early is a race under TSan
  std::vector<int64_t> sums(kSize);
  int stages = 0;
  executor->ForEachInStages(
      Lane::kTrain, [&]() -> int64_t { return stages++ < kStages ? kSize : 0; },
      [&](int64_t i) {
        if (stages % 2 == 1) {
          sums[i] = values[i] + values[(i + 1) % kSize];
        } else {
          values[i] = sums[i] - values[i];
        }
      });
  EXPECT_EQ(stages, kStages + 1);
  EXPECT_THAT(values, ElementsAreArray(std::vector<int64_t>(kSize, 1)));
}

TEST_P(ForEachOnWorkers, StagesMayDifferInLength) {
  std::unique_ptr<Executor> executor = NewThreadedExecutor(GetParam());
  const std::vector<int64_t> lengths = {1, 100, 2, 3, 1, 17};
  size_t stage = 0;
  std::vector<std::vector<int>> calls;
  executor->ForEachInStages(
      Lane::kEvaluate,
      [&]() -> int64_t {
        if (stage == lengths.size()) return -1;  // as good an end as 0
        calls.emplace_back(lengths[stage]);
        return lengths[stage++];
      },
      [&](int64_t i) { ++calls.back()[i]; });
  ASSERT_EQ(calls.size(), lengths.size());
  for (size_t s = 0; s < lengths.size(); ++s) {
    EXPECT_THAT(calls[s], ElementsAreArray(std::vector<int>(lengths[s], 1))) << "stage " << s;
  }
}

TEST_P(ForEachOnWorkers, ManyThreadsMayRunStagesAtOnce) {
  std::unique_ptr<Executor> executor = NewThreadedExecutor(GetParam());
  constexpr int kThreads = 6, kStages = 50;
  std::vector<std::vector<int>> calls(kThreads, std::vector<int>(40));
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      int stages = 0;
      executor->ForEachInStages(
          static_cast<Lane>(t % kLanes), [&]() -> int64_t { return stages++ < kStages ? 40 : 0; },
          [&, t](int64_t i) {
            ++calls[t][i];
            executor->Cut();
          });
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(calls, ElementsAreArray(
                         std::vector<std::vector<int>>(kThreads, std::vector<int>(40, kStages))));
}

TEST_P(ForEachOnWorkers, NegativeCountIsNothing) {
  std::unique_ptr<Executor> executor = NewThreadedExecutor(GetParam());
  executor->ForEach(Lane::kTrain, -5, [](int64_t) { ADD_FAILURE(); });
}

TEST_P(ForEachOnWorkers, ManyThreadsMayCallItAtOnceInAnyLane) {
  std::unique_ptr<Executor> executor = NewThreadedExecutor(GetParam());
  constexpr int kThreads = 6;
  std::vector<std::vector<int>> calls(kThreads, std::vector<int>(200));
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 20; ++round) {
        executor->ForEach(static_cast<Lane>(t % kLanes), 200, [&, t](int64_t i) {
          ++calls[t][i];
          executor->Cut();
        });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(calls,
              ElementsAreArray(std::vector<std::vector<int>>(kThreads, std::vector<int>(200, 20))));
}

INSTANTIATE_TEST_SUITE_P(Workers, ForEachOnWorkers, ::testing::Values(1, 2, 3, 4));

TEST(ForEach, TakesTheIndicesInOrder) {
  std::unique_ptr<Executor> executor = NewThreadedExecutor(1);
  std::vector<int64_t> order;
  executor->ForEach(Lane::kEvaluate, 5, [&](int64_t i) { order.push_back(i); });
  EXPECT_THAT(order, ElementsAre(0, 1, 2, 3, 4));
}

TEST(ForEach, UsesAllWorkersAtOnce) {
  constexpr int kWorkers = 3;
  std::unique_ptr<Executor> executor = NewThreadedExecutor(kWorkers);
  MeetingPoint together(kWorkers);
  executor->ForEach(Lane::kTrain, kWorkers, [&](int64_t) { together.Meet(); });
}

TEST(ForEach, LetsTheLanesAboveGoFirstBetweenTwoIndices) {
  Record record;
  std::unique_ptr<Executor> executor = NewThreadedExecutor(1);
  executor->ForEach(Lane::kTrain, 3, [&](int64_t i) {
    record.Add("train " + std::to_string(i));
    if (i != 0) return;
    executor->Submit(Lane::kTrain, [&] { record.Add("train task"); });
    executor->Submit(Lane::kEvaluate, [&] { record.Add("evaluate"); });
    executor->Submit(Lane::kPredict, [&] { record.Add("predict"); });
  });
  EXPECT_THAT(record.what(),
              ElementsAre("train 0", "predict", "evaluate", "train 1", "train task", "train 2"));
}

TEST(ForEachInStages, CallerSleepsThroughAllStages) {
  std::unique_ptr<Executor> executor = NewThreadedExecutor(2);
  std::vector<std::thread::id> asked;
  executor->ForEachInStages(
      Lane::kTrain,
      [&]() -> int64_t {
        asked.push_back(std::this_thread::get_id());
        return asked.size() < 10 ? 5 : 0;
      },
      [](int64_t) {});
  ASSERT_EQ(asked.size(), 10u);
  EXPECT_EQ(asked[0], std::this_thread::get_id());
  EXPECT_EQ(std::count(asked.begin(), asked.end(), std::this_thread::get_id()), 1);
}

TEST(ForEachInStages, LetsTheLanesAboveGoFirstBetweenTwoStages) {
  Record record;
  std::unique_ptr<Executor> executor = NewThreadedExecutor(1);
  int stages = 0;
  executor->ForEachInStages(
      Lane::kTrain,
      [&]() -> int64_t {
        record.Add("stage");
        if (stages == 1) executor->Submit(Lane::kPredict, [&] { record.Add("predict"); });
        return stages++ < 2 ? 1 : 0;
      },
      [&](int64_t) { record.Add("train"); });
  EXPECT_THAT(record.what(), ElementsAre("stage", "train", "stage", "predict", "train", "stage"));
}

TEST(ForEach, TwoOfOneLaneTakeTurns) {
  std::unique_ptr<Executor> executor = NewThreadedExecutor(1);
  absl::Notification first_began;
  absl::Notification second_done;
  int first_calls = 0;
  std::thread first([&] {
    executor->ForEach(Lane::kEvaluate, 1000000, [&](int64_t) {
      if (++first_calls == 1) first_began.Notify();
      // What is left takes no time once the other has got through.
      if (!second_done.HasBeenNotified()) std::this_thread::yield();
    });
  });
  first_began.WaitForNotification();
  int first_calls_at_end_of_second = 0;
  executor->ForEach(Lane::kEvaluate, 3, [&](int64_t i) {
    if (i == 2) first_calls_at_end_of_second = first_calls;
  });
  second_done.Notify();
  first.join();
  EXPECT_LT(first_calls_at_end_of_second, 1000000) << "the second waited for the whole first";
  EXPECT_EQ(first_calls, 1000000);
}

TEST(ForEach, RunsWholeInsideACutOfALowerLane) {
  absl::Notification training;
  absl::Notification predicted;
  std::vector<int64_t> order;
  std::unique_ptr<Executor> executor = NewThreadedExecutor(1);
  executor->Submit(Lane::kTrain, [&] {
    training.Notify();
    while (!predicted.HasBeenNotified()) executor->Cut();
  });
  training.WaitForNotification();
  executor->ForEach(Lane::kPredict, 4, [&](int64_t i) { order.push_back(i); });
  predicted.Notify();
  EXPECT_THAT(order, ElementsAre(0, 1, 2, 3));
}

TEST(ThreadedExecutor, LendsAWorkersPlaceToTheCallerWhileOneHasNothingToDo) {
  std::unique_ptr<Executor> executor = NewThreadedExecutor(1);
  const std::thread::id here = std::this_thread::get_id();
  std::thread::id ran;
  int team = 0;
  // The worker's thread may not have come to its sleep yet.
  while (!executor->TryRunHere(Lane::kPredict, [&] {
    ran = std::this_thread::get_id();
    team = omp_get_max_threads();
    executor->Cut();
  })) {
  }
  EXPECT_EQ(ran, here);
  EXPECT_EQ(team, 1);
  Plug busy(*executor, Lane::kTrain);
  EXPECT_FALSE(executor->TryRunHere(Lane::kPredict, [] {}));
  busy.Release();
}

TEST(ThreadedExecutor, LendsNoMorePlacesThanThereAreIdleWorkers) {
  std::unique_ptr<Executor> executor = NewThreadedExecutor(1);
  absl::Notification lent, tried;
  std::thread borrower([&] {
    while (!executor->TryRunHere(Lane::kPredict, [&] {
      lent.Notify();
      tried.WaitForNotification();
    })) {
    }
  });
  lent.WaitForNotification();
  EXPECT_FALSE(executor->TryRunHere(Lane::kPredict, [] {}));
  // What is submitted meanwhile doesn't wait for the borrower.
  absl::Notification ran;
  executor->Submit(Lane::kPredict, [&] { ran.Notify(); });
  ran.WaitForNotification();
  tried.Notify();
  borrower.join();
}

TEST(ThreadedExecutor, FloodOfPredictionsLeavesTrainingItsShare) {
  for (int workers : {1, 2}) {
    // Before the executor, whose end runs the last of them.
    std::atomic<bool> flood{true};
    std::atomic<int64_t> predictions{0};
    std::function<void()> predict;
    const std::unique_ptr<Executor> executor = NewThreadedExecutor(workers, {.train_share = 0.1});
    Executor& lanes = *executor;
    // The lane is never empty: each task leaves another one.
    predict = [&] {
      predictions.fetch_add(1);
      if (flood.load()) lanes.Submit(Lane::kPredict, predict);
    };
    for (int i = 0; i < 2 * workers; ++i) executor->Submit(Lane::kPredict, predict);
    int64_t trained = 0;
    executor->ForEachInStages(
        Lane::kTrain, [&] { return ++trained <= 5 ? int64_t{4} : int64_t{0}; },
        [&](int64_t) {
          for (int call = 0; call < 10; ++call) executor->Cut();
        });
    EXPECT_EQ(trained, 6);
    EXPECT_GT(predictions.load(), 0);
    flood.store(false);
  }
}

TEST(ThreadedExecutor, WorkersAreAloneInOpenMpNamedAndNice) {
  const int own_nice = getpriority(PRIO_PROCESS, 0);
  std::unique_ptr<Executor> executor = NewThreadedExecutor(3, {.nice = 5});
  MeetingPoint together(3);
  std::vector<int> teams(3);
  std::vector<int> nices(3);
  std::vector<std::string> names(3);
  executor->ForEach(Lane::kTrain, 3, [&](int64_t i) {
    together.Meet();
    teams[i] = omp_get_max_threads();
    nices[i] = getpriority(PRIO_PROCESS, static_cast<id_t>(gettid()));
    char name[16] = "";
    pthread_getname_np(pthread_self(), name, sizeof(name));
    names[i] = name;
  });
  EXPECT_THAT(teams, ElementsAre(1, 1, 1));
  EXPECT_THAT(nices, ElementsAre(5, 5, 5));
  EXPECT_THAT(std::set<std::string>(names.begin(), names.end()),
              ElementsAre("convd-work-0", "convd-work-1", "convd-work-2"));
  EXPECT_EQ(getpriority(PRIO_PROCESS, 0), own_nice) << "only the workers are nice";
}

TEST(HandCrankedExecutor, RunsTheFirstTaskOfTheFirstLaneAtEachTurn) {
  Record record;
  std::unique_ptr<HandCrankedExecutor> executor = NewHandCrankedExecutor(3);
  EXPECT_EQ(executor->workers(), 3);
  EXPECT_FALSE(executor->RunOne());
  executor->Submit(Lane::kTrain, [&] { record.Add("t"); });
  executor->Submit(Lane::kPredict, [&] { record.Add("p1"); });
  executor->Submit(Lane::kPredict, [&] { record.Add("p2"); });
  EXPECT_EQ(executor->pending(Lane::kPredict), 2);
  EXPECT_EQ(executor->pending(Lane::kEvaluate), 0);
  EXPECT_EQ(executor->pending(Lane::kTrain), 1);
  executor->Cut();  // this thread runs no task
  EXPECT_THAT(record.what(), IsEmpty());
  EXPECT_TRUE(executor->RunOne());
  EXPECT_THAT(record.what(), ElementsAre("p1"));
  EXPECT_TRUE(executor->RunOne());
  EXPECT_TRUE(executor->RunOne());
  EXPECT_FALSE(executor->RunOne());
  EXPECT_THAT(record.what(), ElementsAre("p1", "p2", "t"));
}

TEST(HandCrankedExecutor, ForEachRunsAtOnceOnTheCallerAndCutsBetweenIndices) {
  Record record;
  std::unique_ptr<HandCrankedExecutor> executor = NewHandCrankedExecutor();
  executor->Submit(Lane::kTrain, [&] { record.Add("train"); });
  executor->ForEach(Lane::kEvaluate, 3, [&](int64_t i) {
    record.Add("evaluate " + std::to_string(i));
    if (i == 1) executor->Submit(Lane::kPredict, [&] { record.Add("predict"); });
  });
  EXPECT_THAT(record.what(), ElementsAre("evaluate 0", "evaluate 1", "predict", "evaluate 2"));
  EXPECT_EQ(executor->pending(Lane::kTrain), 1);
}

TEST(HandCrankedExecutor, RunsStageAfterStageOnTheCaller) {
  Record record;
  std::unique_ptr<HandCrankedExecutor> executor = NewHandCrankedExecutor();
  int stages = 0;
  executor->ForEachInStages(
      Lane::kTrain, [&]() -> int64_t { return stages < 2 ? ++stages : 0; },
      [&](int64_t i) { record.Add(std::to_string(stages) + "." + std::to_string(i)); });
  EXPECT_THAT(record.what(), ElementsAre("1.0", "2.0", "2.1"));
}

TEST(HandCrankedExecutor, NestedCutsLookOnlyAboveTheTaskThatRuns) {
  Record record;
  std::unique_ptr<HandCrankedExecutor> executor = NewHandCrankedExecutor();
  executor->Submit(Lane::kTrain, [&] {
    executor->Submit(Lane::kEvaluate, [&] {
      executor->Submit(Lane::kEvaluate, [&] { record.Add("evaluate 2"); });
      executor->Cut();
      record.Add("evaluate 1");
    });
    executor->Cut();
    record.Add("train");
  });
  EXPECT_TRUE(executor->RunOne());
  EXPECT_THAT(record.what(), ElementsAre("evaluate 1", "evaluate 2", "train"));
}

TEST(HandCrankedExecutor, NeverDropsATask) {
  int ran = 0;
  std::unique_ptr<HandCrankedExecutor> executor = NewHandCrankedExecutor();
  executor->Submit(Lane::kTrain, [&] { ++ran; });
  executor.reset();
  EXPECT_EQ(ran, 1);
}

// A quota that is used up with the first millisecond, for as long as any test runs.
constexpr ExecutorOptions kUsedUp = {
    .nice = 0, .train_share = 0, .cpu_quota = absl::Microseconds(1), .cpu_period = absl::Hours(1)};

// Takes more CPU time than that, and long enough for the next cut to look.
void UseUpTheQuota() {
  const auto begun = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - begun < std::chrono::milliseconds(2)) {
  }
}

TEST(ThreadedExecutor, TrainingThatIsAheadOfTheCpuQuotaPausesAndPredictionsGoOn) {
  std::atomic<bool> went_on{false};
  bool went_on_before_the_end = false;
  int predicted = 0;
  {
    const std::unique_ptr<Executor> executor = NewThreadedExecutor(1, kUsedUp);
    absl::Notification begun;
    executor->Submit(Lane::kTrain, [&] {
      UseUpTheQuota();
      begun.Notify();
      executor->Cut();
      went_on = true;
    });
    begun.WaitForNotification();
    for (int i = 0; i < 100; ++i) {
      absl::Notification done;
      executor->Submit(i % 2 == 0 ? Lane::kPredict : Lane::kEvaluate, [&] {
        ++predicted;
        done.Notify();
      });
      done.WaitForNotification();
    }
    went_on_before_the_end = went_on;
  }
  EXPECT_EQ(predicted, 100);
  EXPECT_FALSE(went_on_before_the_end);
  EXPECT_TRUE(went_on);  // the executor's end ends the pause
}

TEST(ThreadedExecutor, APredictionRunsWhereItArrivedWhileTrainingPausesForTheQuota) {
  const std::unique_ptr<Executor> executor = NewThreadedExecutor(1, kUsedUp);
  executor->Submit(Lane::kTrain, [&] {
    UseUpTheQuota();
    executor->Cut();
  });
  // Until then the worker is at work, so that it fails.
  bool ran = false;
  while (!executor->TryRunHere(Lane::kPredict, [&] { ran = true; })) std::this_thread::yield();
  EXPECT_TRUE(ran);
}

TEST(ThreadedExecutor, SaysHowLongItPausedForTheQuota) {
  const std::unique_ptr<Executor> executor = NewThreadedExecutor(1, kUsedUp);
  absl::Notification begun;
  executor->Submit(Lane::kTrain, [&] {
    UseUpTheQuota();
    begun.Notify();
    executor->Cut();
  });
  begun.WaitForNotification();
  while (executor->Use().paused_seconds == 0) {
    absl::Notification done;
    executor->Submit(Lane::kPredict, [&] { done.Notify(); });
    done.WaitForNotification();
  }
  EXPECT_GT(executor->Use().paused_seconds, 0);
}

TEST(ThreadedExecutor, PredictionsNeverPauseForTheQuota) {
  const std::unique_ptr<Executor> executor = NewThreadedExecutor(1, kUsedUp);
  executor->ForEach(Lane::kPredict, 5, [&](int64_t) {
    UseUpTheQuota();
    executor->Cut();
  });
  EXPECT_EQ(executor->Use().paused_seconds, 0);
}

}  // namespace
}  // namespace convd
