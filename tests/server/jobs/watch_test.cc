#include "server/jobs/watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "tests/server/jobs/fake_training.h"
#include "tests/server/jobs/watch_reader.h"

namespace convd {
namespace {

using ::testing::ElementsAre;

class WatchTest : public ::testing::Test {
 protected:
  void Start(Script script, JobRunnerOptions options = {}) {
    auto runner = JobRunner::Start(
        *store_, models_, FileSystem::Posix(), state_dir_, ResolveStored,
        [script](const Graph&, const v1::TrainRequest&, TrainingData,
                 absl::Span<const float>) -> absl::StatusOr<std::unique_ptr<Trainer>> {
          return std::make_unique<ScriptedTrainer>(script);
        },
        clock_, std::move(options));
    ASSERT_TRUE(runner.ok()) << runner.status();
    runner_ = *std::move(runner);
  }
  std::string Submit() { return runner_->Submit(JobFor("m"))->id(); }

  const TestStateDir test_state_dir_;
  const std::string& state_dir_ = test_state_dir_.path();
  HandClock clock_;
  std::unique_ptr<JobStore> store_ = *NewInMemoryJobStore();
  RecordingRepository models_;
  std::unique_ptr<JobRunner> runner_;
};

absl::Status UntilCancelled(TrainingObserver& observer) {
  while (!observer.Cancelled()) std::this_thread::yield();
  return absl::CancelledError("at a cut");
}

// "job QUEUED", "progress 2/7", "epoch 1", ...
std::string Text(const v1::JobEvent& event) {
  switch (event.event_case()) {
    case v1::JobEvent::kJob:
      return "job " + std::string(StateName(event.job().state()));
    case v1::JobEvent::kProgress:
      return "progress " + std::to_string(event.progress().epoch()) + "/" +
             std::to_string(event.progress().step());
    case v1::JobEvent::kEpoch:
      return "epoch " + std::to_string(event.epoch().epoch());
    default:
      return "nothing";
  }
}

TEST_F(WatchTest, ShowsTheWholeLifeOfAJobInOrder) {
  absl::Notification seen_running;
  absl::Notification seen_progress;
  absl::Notification seen_epoch;
  Start([&](TrainingObserver& observer, std::vector<v1::EpochRecord>&) {
    seen_running.WaitForNotification();
    observer.OnProgress(ProgressAt(1, 5));
    seen_progress.WaitForNotification();
    observer.OnEpoch(Epoch(1));
    seen_epoch.WaitForNotification();
    return absl::OkStatus();
  });
  const std::string id = Submit();
  WatchReader reader(*runner_, id);
  std::vector<std::string> texts;
  for (v1::JobEvent event; reader.Read(event);) {
    texts.push_back(Text(event));
    if (texts.back() == "job RUNNING") seen_running.Notify();
    if (texts.back() == "progress 1/5") seen_progress.Notify();
    if (texts.back() == "epoch 1") seen_epoch.Notify();
  }
  // It may have begun before the watch did.
  if (texts.front() == "job QUEUED") texts.erase(texts.begin());
  EXPECT_THAT(texts, ElementsAre("job RUNNING", "progress 1/5", "epoch 1", "job SUCCEEDED"));
  EXPECT_TRUE(reader.watch().end().ok());
}

// peer-faults: progress is coalesced, epoch records never are.
TEST_F(WatchTest, AReaderThatFallsBehindMissesProgressButNoEpoch) {
  absl::Notification begun;
  absl::Notification go_on;
  Start([&](TrainingObserver& observer, std::vector<v1::EpochRecord>&) {
    begun.Notify();
    go_on.WaitForNotification();
    for (int e = 1; e <= 50; ++e) {
      for (int step = 1; step <= 20; ++step) observer.OnProgress(ProgressAt(e, step));
      observer.OnEpoch(Epoch(e));
    }
    return UntilCancelled(observer);
  });
  const std::string id = Submit();
  begun.WaitForNotification();
  WatchReader reader(*runner_, id);
  v1::JobEvent event;
  ASSERT_TRUE(reader.Read(event));
  EXPECT_EQ(Text(event), "job RUNNING");
  // Another reader keeps pace; when it has the last epoch, this one is 50 epochs behind.
  WatchReader fast(*runner_, id);
  go_on.Notify();
  for (v1::JobEvent e; fast.Read(e) && Text(e) != "epoch 50";) {
  }
  std::vector<std::string> texts;
  for (int i = 0; i < 51; ++i) {
    ASSERT_TRUE(reader.Read(event));
    texts.push_back(Text(event));
  }
  for (int e = 1; e <= 50; ++e) EXPECT_EQ(texts[e - 1], "epoch " + std::to_string(e));
  EXPECT_EQ(texts[50], "progress 50/20");
  EXPECT_EQ(reader.watch().Next(event), JobWatch::Step::kNothingYet);
}

TEST_F(WatchTest, EpochsComeBeforeProgressOfTheNextAndBeforeTheEnd) {
  Start([&](TrainingObserver& observer, std::vector<v1::EpochRecord>&) {
    for (int e = 1; e <= 200; ++e) {
      observer.OnProgress(ProgressAt(e, 1));
      observer.OnEpoch(Epoch(e));
    }
    return absl::OkStatus();
  });
  const std::string id = Submit();
  int64_t last = 0;
  bool ended = false;
  const std::vector<v1::JobEvent> events = WatchReader(*runner_, id).ReadAll();
  for (const v1::JobEvent& event : events) {
    EXPECT_FALSE(ended);
    if (event.has_epoch()) {
      EXPECT_EQ(event.epoch().epoch(), last + 1);
      last = event.epoch().epoch();
    }
    if (event.has_progress()) {
      EXPECT_LE(event.progress().epoch(), last + 1);
    }
    ended = event.has_job() && IsFinal(event.job().state());
  }
  EXPECT_TRUE(ended);
  EXPECT_EQ(events.back().job().history_size(), 200);
  // Unless the job was over before it could be watched, every record came as an event, too.
  if (events.size() > 1) {
    EXPECT_EQ(last, 200);
  }
}

TEST_F(WatchTest, GoesOnAfterTheEpochThatTheReaderHas) {
  Start([&](TrainingObserver& observer, std::vector<v1::EpochRecord>&) {
    for (int e = 1; e <= 5; ++e) observer.OnEpoch(Epoch(e));
    observer.OnProgress(ProgressAt(6, 1));
    return UntilCancelled(observer);
  });
  const std::string id = Submit();
  WatchReader all(*runner_, id);
  for (v1::JobEvent e; all.Read(e) && Text(e) != "epoch 5";) {
  }
  WatchReader reader(*runner_, id, 3);
  v1::JobEvent event;
  std::vector<std::string> texts;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(reader.Read(event));
    texts.push_back(Text(event));
  }
  EXPECT_THAT(texts, ElementsAre("job RUNNING", "epoch 4", "epoch 5"));
}

TEST_F(WatchTest, AJobThatHasEndedIsOneEvent) {
  Start([&](TrainingObserver& observer, std::vector<v1::EpochRecord>&) {
    observer.OnEpoch(Epoch(1));
    return absl::OkStatus();
  });
  const std::string id = Submit();
  AwaitEnd(*runner_, id);
  WatchReader reader(*runner_, id);
  const std::vector<v1::JobEvent> events = reader.ReadAll();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(Text(events[0]), "job SUCCEEDED");
  EXPECT_EQ(events[0].job().history_size(), 1);
  EXPECT_EQ(events[0].job().summary(), "the table\n");
  EXPECT_TRUE(reader.watch().end().ok());
}

TEST_F(WatchTest, AWaitingJobShowsItsPlaceWheneverThatChanges) {
  Start([&](TrainingObserver& observer, std::vector<v1::EpochRecord>&) {
    return UntilCancelled(observer);
  });
  const std::string first = Submit();
  const std::string second = Submit();
  const std::string third = Submit();
  WatchReader reader(*runner_, third);
  v1::JobEvent event;
  ASSERT_TRUE(reader.Read(event));
  // The first may not have begun yet.
  if (event.job().queue_position() == 3) {
    ASSERT_TRUE(reader.Read(event));
  }
  EXPECT_EQ(event.job().queue_position(), 2);
  ASSERT_TRUE(runner_->Cancel(second).ok());
  ASSERT_TRUE(reader.Read(event));
  EXPECT_EQ(event.job().queue_position(), 1);
  ASSERT_TRUE(runner_->Cancel(first).ok());
  ASSERT_TRUE(reader.Read(event));
  EXPECT_EQ(Text(event), "job RUNNING");
  EXPECT_EQ(event.job().queue_position(), 0);
}

TEST_F(WatchTest, ProgressWakesReadersOnlySoOften) {
  absl::Notification begun;
  absl::Notification go_on;
  absl::Notification reported;
  Start([&](TrainingObserver& observer, std::vector<v1::EpochRecord>&) {
    begun.Notify();
    go_on.WaitForNotification();
    for (int step = 1; step <= 1000; ++step) {
      observer.OnProgress(ProgressAt(1, step));
      clock_.Advance(absl::Milliseconds(1));
    }
    reported.Notify();
    return UntilCancelled(observer);
  });
  const std::string id = Submit();
  begun.WaitForNotification();
  WatchReader reader(*runner_, id);
  v1::JobEvent event;
  ASSERT_TRUE(reader.Read(event));
  const int64_t before = reader.wakes();
  go_on.Notify();
  reported.WaitForNotification();
  // A second of them: at most one in 100 ms, and fewer where the waking thread comes late.
  EXPECT_LE(reader.wakes() - before, 10);
  ASSERT_TRUE(reader.Read(event));
  EXPECT_EQ(Text(event), "progress 1/1000");
}

TEST_F(WatchTest, TheServersEndComesAfterWhatThereIsToShow) {
  absl::Notification begun;
  Start([&](TrainingObserver& observer, std::vector<v1::EpochRecord>&) {
    observer.OnEpoch(Epoch(1));
    begun.Notify();
    return UntilCancelled(observer);
  });
  const std::string running = Submit();
  const std::string waiting = Submit();
  begun.WaitForNotification();
  WatchReader running_reader(*runner_, running);
  WatchReader waiting_reader(*runner_, waiting);
  v1::JobEvent event;
  ASSERT_TRUE(running_reader.Read(event));
  runner_->Stop();
  ASSERT_TRUE(runner_->AwaitIdle(absl::InfiniteDuration()));
  runner_->EndWatches();
  ASSERT_TRUE(running_reader.Read(event));
  EXPECT_EQ(Text(event), "epoch 1");
  ASSERT_TRUE(running_reader.Read(event));
  EXPECT_EQ(Text(event), "job QUEUED");
  EXPECT_FALSE(running_reader.Read(event));
  EXPECT_EQ(running_reader.watch().end().code(), absl::StatusCode::kUnavailable);

  waiting_reader.ReadAll();
  EXPECT_EQ(waiting_reader.watch().end().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(JobWatch::Open(*runner_, waiting, 0, [] {}).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST_F(WatchTest, WhatCannotBeWatchedIsRefused) {
  JobRunnerOptions options;
  options.max_watches = 1;
  Start([&](TrainingObserver& observer,
            std::vector<v1::EpochRecord>&) { return UntilCancelled(observer); },
        std::move(options));
  const std::string id = Submit();
  const auto code = [&](const std::string& job, int64_t after) {
    return JobWatch::Open(*runner_, job, after, [] {}).status().code();
  };
  EXPECT_EQ(code("j-20260131-000000-000", 0), absl::StatusCode::kNotFound);
  EXPECT_EQ(code("nonsense", 0), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(id, -1), absl::StatusCode::kInvalidArgument);
  {
    // The refused ones hold no place.
    WatchReader reader(*runner_, id);
    EXPECT_EQ(code(id, 0), absl::StatusCode::kResourceExhausted);
  }
  EXPECT_EQ(code(id, 0), absl::StatusCode::kOk);
}

// Readers come and go on their own threads while the job makes events.
TEST_F(WatchTest, ManyReadersAtOnceEachSeeEveryEpoch) {
  absl::Notification begun;
  absl::Notification go_on;
  Start([&](TrainingObserver& observer, std::vector<v1::EpochRecord>&) {
    begun.Notify();
    go_on.WaitForNotification();
    for (int e = 1; e <= 100; ++e) {
      observer.OnProgress(ProgressAt(e, 1));
      observer.OnEpoch(Epoch(e));
    }
    return absl::OkStatus();
  });
  const std::string id = Submit();
  begun.WaitForNotification();
  std::vector<std::unique_ptr<WatchReader>> readers;
  for (int t = 0; t < 4; ++t) readers.push_back(std::make_unique<WatchReader>(*runner_, id));
  v1::JobEvent first;
  for (auto& reader : readers) ASSERT_TRUE(reader->Read(first));
  std::vector<std::thread> threads;
  std::vector<int> epochs(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (const v1::JobEvent& event : readers[t]->ReadAll()) epochs[t] += event.has_epoch();
      readers[t].reset();
    });
  }
  threads.emplace_back([&] {
    for (int i = 0; i < 50; ++i) WatchReader(*runner_, id);
  });
  go_on.Notify();
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(epochs, ElementsAre(100, 100, 100, 100));
}

}  // namespace
}  // namespace convd
