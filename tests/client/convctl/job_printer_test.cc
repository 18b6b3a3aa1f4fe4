#include "client/convctl/job_printer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace convd {
namespace {

using ::testing::ElementsAre;

class JobPrinterTest : public ::testing::Test {
 protected:
  JobPrinter Printer(bool interactive) {
    return JobPrinter(
        {interactive, Colors::kNone, false}, [this] { return width_; },
        [this](std::string_view text) { writes_.emplace_back(text); });
  }

  static v1::JobEvent JobEvent(v1::JobState state, int64_t queue_position = 0) {
    v1::JobEvent event;
    event.mutable_job()->set_id("j1");
    event.mutable_job()->set_state(state);
    event.mutable_job()->set_queue_position(queue_position);
    event.mutable_job()->mutable_request()->set_epochs(2);
    return event;
  }
  static v1::JobEvent ProgressEvent(int64_t step) {
    v1::JobEvent event;
    event.mutable_progress()->set_epoch(1);
    event.mutable_progress()->set_epochs(2);
    event.mutable_progress()->set_step(step);
    event.mutable_progress()->set_steps(10);
    return event;
  }
  static v1::JobEvent EpochEvent() {
    v1::JobEvent event;
    event.mutable_epoch()->set_epoch(1);
    event.mutable_epoch()->set_seconds(1);
    event.mutable_epoch()->set_loss(0.5);
    event.mutable_epoch()->set_accuracy(0.25);
    return event;
  }

  int width_ = 30;
  std::vector<std::string> writes_;
};

TEST_F(JobPrinterTest, PlainOutputIsALineAnEpochAndNoBar) {
  JobPrinter printer = Printer(false);
  printer.OnEvent(JobEvent(v1::JOB_STATE_QUEUED, 2));
  printer.OnEvent(JobEvent(v1::JOB_STATE_QUEUED, 2));
  printer.OnEvent(JobEvent(v1::JOB_STATE_RUNNING));
  printer.OnEvent(ProgressEvent(5));
  printer.OnEvent(EpochEvent());
  printer.OnEvent(JobEvent(v1::JOB_STATE_SUCCEEDED));
  printer.Clear();
  EXPECT_THAT(writes_, ElementsAre("Job j1 is queued, number 2 in line\n", "Job j1 is running\n",
                                   "Epoch 1/2 - 1.0s - loss: 0.5000 - accuracy: 0.2500\n"));
}

TEST_F(JobPrinterTest, TheBarIsDrawnOverItselfInOneWriteAndOnlyWhenItChanges) {
  JobPrinter printer = Printer(true);
  printer.OnEvent(JobEvent(v1::JOB_STATE_RUNNING));
  printer.OnEvent(ProgressEvent(0));
  printer.OnEvent(ProgressEvent(0));
  printer.OnEvent(EpochEvent());
  printer.Clear();
  EXPECT_THAT(writes_,
              ElementsAre("\rJob j1 is running\x1b[K", "\rEpoch 1/2  [>........]   0/10\x1b[K",
                          "\rEpoch 1/2 - 1.0s - loss: 0.5000 - accuracy: 0.2500\x1b[K\n"));
}

TEST_F(JobPrinterTest, AJobThatIsQueuedAfterItRanWentOnAfterTheServersEnd) {
  JobPrinter printer = Printer(false);
  printer.OnEvent(JobEvent(v1::JOB_STATE_RUNNING));
  printer.OnEvent(JobEvent(v1::JOB_STATE_QUEUED, 1));
  printer.OnEvent(JobEvent(v1::JOB_STATE_RUNNING));
  EXPECT_THAT(writes_, ElementsAre("Job j1 is running\n",
                                   "Job j1 was interrupted; it goes on from its last checkpoint\n",
                                   "Job j1 is queued, number 1 in line\n", "Job j1 is running\n"));
}

TEST_F(JobPrinterTest, SoDidOneThatRunsInAnotherAttempt) {
  JobPrinter printer = Printer(true);
  v1::JobEvent running = JobEvent(v1::JOB_STATE_RUNNING);
  running.mutable_job()->set_attempts(1);
  printer.OnEvent(running);
  running.mutable_job()->set_attempts(2);
  printer.OnEvent(running);
  EXPECT_THAT(writes_,
              ElementsAre("\rJob j1 is running\x1b[K",
                          "\rJob j1 was interrupted; it goes on from its last checkpoint\x1b[K\n",
                          "\rJob j1 is running\x1b[K"));
}

TEST_F(JobPrinterTest, APauseIsALineAndNotTheServersEnd) {
  width_ = 60;
  JobPrinter printer = Printer(true);
  printer.OnEvent(JobEvent(v1::JOB_STATE_RUNNING));
  v1::JobEvent paused = JobEvent(v1::JOB_STATE_PAUSED);
  printer.OnEvent(paused);
  printer.OnEvent(JobEvent(v1::JOB_STATE_QUEUED, 1));
  EXPECT_THAT(writes_, ElementsAre("\rJob j1 is running\x1b[K",
                                   "\rJob j1 is paused; `convctl resume j1` lets it go on\x1b[K\n",
                                   "\rJob j1 is queued, number 1 in line\x1b[K"));
  paused.mutable_job()->mutable_error()->set_message("other \x1b bits");
  printer.OnEvent(paused);
  EXPECT_EQ(writes_.back(),
            "\rJob j1 is paused: other \\x1b bits (`convctl resume j1 --allow-different-bits`)"
            "\x1b[K\n");
}

TEST_F(JobPrinterTest, WhatAJobWaitsForIsALineOfItsOwn) {
  width_ = 30;
  JobPrinter printer = Printer(true);
  v1::JobEvent event = JobEvent(v1::JOB_STATE_QUEUED, 1);
  printer.OnEvent(event);
  event.mutable_job()->set_waiting_for("memory: 900 MB");
  printer.OnEvent(event);
  printer.OnEvent(event);
  EXPECT_THAT(writes_,
              ElementsAre("\rJob j1 is queued, number 1 in\x1b[K",
                          "\rJob j1 is queued, number 1 in line, waiting: memory: 900 MB\x1b[K\n"));
}

TEST_F(JobPrinterTest, ClearTakesTheBarAway) {
  JobPrinter printer = Printer(true);
  printer.OnEvent(ProgressEvent(0));
  writes_.clear();
  printer.Clear();
  printer.Clear();
  EXPECT_THAT(writes_, ElementsAre("\r\x1b[K"));
}

TEST_F(JobPrinterTest, ALineNeverReachesTheLastColumn) {
  width_ = 10;
  JobPrinter printer = Printer(true);
  printer.OnEvent(JobEvent(v1::JOB_STATE_RUNNING));
  EXPECT_THAT(writes_, ElementsAre("\rJob j1 is\x1b[K"));
}

}  // namespace
}  // namespace convd
