#include "client/convctl/job_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace convd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

v1::Job JobIn(v1::JobState state) {
  v1::Job job;
  job.set_id("j1");
  job.set_state(state);
  job.set_attempts(1);
  job.mutable_request()->set_model("m");
  job.mutable_request()->set_epochs(10);
  return job;
}

v1::Job AtStep(v1::Job job) {
  v1::Progress& progress = *job.mutable_progress();
  progress.set_epoch(3);
  progress.set_epochs(10);
  progress.set_step(5);
  progress.set_steps(20);
  progress.set_seconds_left(75);
  return job;
}

TEST(JobTextTest, SaysHowAJobIs) {
  v1::Job job = JobIn(v1::JOB_STATE_QUEUED);
  EXPECT_EQ(StateLine(job), "Job j1 is queued");
  job.set_queue_position(1200);
  EXPECT_EQ(StateLine(job), "Job j1 is queued, number 1,200 in line");
  job.set_queue_position(1);
  job.set_waiting_for("memory: \x1b takes it");
  EXPECT_EQ(StateLine(job), "Job j1 is queued, number 1 in line, waiting: memory: \\x1b takes it");
  EXPECT_THAT(JobDetails(job), HasSubstr("\nWaits for     memory: \\x1b takes it\n"));
  EXPECT_EQ(StateLine(JobIn(v1::JOB_STATE_RUNNING)), "Job j1 is running");
  job = JobIn(v1::JOB_STATE_PAUSED);
  EXPECT_EQ(StateLine(job), "Job j1 is paused; `convctl resume j1` lets it go on");
  job.mutable_error()->set_message("its checkpoint is of avx2");
  EXPECT_EQ(StateLine(job),
            "Job j1 is paused: its checkpoint is of avx2 (`convctl resume j1 "
            "--allow-different-bits`)");
}

TEST(JobTextTest, APausedJobInTheListIsWhereItWillGoOn) {
  const std::string text = JobsTable({AtStep(JobIn(v1::JOB_STATE_PAUSED))});
  EXPECT_THAT(text, HasSubstr("j1   paused  m"));
  EXPECT_THAT(text, HasSubstr("  epoch 3/10, step 5/20\n"));
  EXPECT_THAT(JobsTable({JobIn(v1::JOB_STATE_PAUSED)}), HasSubstr("  -\n"));
}

TEST(JobTextTest, APausedJobShownWholeSaysWhyTheServerPausedIt) {
  v1::Job job = AtStep(JobIn(v1::JOB_STATE_PAUSED));
  EXPECT_THAT(JobDetails(job), HasSubstr("\nProgress      epoch 3/10, step 5/20\n"));
  EXPECT_THAT(JobDetails(job), Not(HasSubstr("by server")));
  job.mutable_error()->set_message("its checkpoint is of avx2");
  EXPECT_THAT(JobDetails(job), HasSubstr("\nState             paused\n"));
  EXPECT_THAT(JobDetails(job), HasSubstr("\nPaused by server  its checkpoint is of avx2\n"));
}

TEST(JobTextTest, PriorityAndAttemptsAreShownWhereTheyAreNotTheUsual) {
  v1::Job job = JobIn(v1::JOB_STATE_RUNNING);
  EXPECT_THAT(JobDetails(job), Not(HasSubstr("Priority")));
  EXPECT_THAT(JobDetails(job), Not(HasSubstr("Attempts")));
  job.set_priority(-5);
  job.set_attempts(2);
  EXPECT_THAT(JobDetails(job), HasSubstr("\nPriority      -5\n"));
  EXPECT_THAT(JobDetails(job), HasSubstr("\nAttempts      2\n"));
}

TEST(JobTextTest, WhatEndsAndBeginsAJobIsShownWhereItWasAskedFor) {
  v1::Job job = JobIn(v1::JOB_STATE_RUNNING);
  for (const char* name : {"Early stopping", "Longest runtime", "Initial model"}) {
    EXPECT_THAT(JobDetails(job), Not(HasSubstr(name)));
  }
  v1::EarlyStopping& early_stopping = *job.mutable_request()->mutable_early_stopping();
  early_stopping.set_patience(3);
  EXPECT_EQ(EarlyStoppingText(early_stopping), "patience 3");
  early_stopping.set_monitor(v1::EarlyStopping::VAL_LOSS);
  early_stopping.set_min_delta(0.001);
  early_stopping.set_restore_best(true);
  job.mutable_request()->mutable_max_runtime()->set_seconds(5400);
  job.mutable_request()->mutable_max_runtime()->set_nanos(500'000'000);
  job.mutable_request()->mutable_initial_model()->set_name("fashion");
  job.mutable_request()->mutable_initial_model()->set_version(2);
  const std::string text = JobDetails(job);
  EXPECT_THAT(text, HasSubstr("\nEarly stopping   patience 3 on val_loss, by at least 0.001, "
                              "publishes the best epoch\n"));
  EXPECT_THAT(text, HasSubstr("\nLongest runtime  1h30m0.5s\n"));
  EXPECT_THAT(text, HasSubstr("\nInitial model    fashion@2\n"));
}

}  // namespace
}  // namespace convd
