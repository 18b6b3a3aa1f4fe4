#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/jobs/store.h"
#include "tests/server/jobs/fake_training.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const absl::Time kTime = absl::FromUnixSeconds(1'769'903'999);

std::string Create(JobStore& store) {
  v1::Job job;
  job.mutable_request()->set_model("m");
  job.set_summary("table");
  return store.Create(job, kTime, "")->id();
}

absl::Status Change(JobStore& store, const std::string& id, v1::JobState state) {
  JobChange change;
  change.state = state;
  change.time = kTime + absl::Seconds(state);
  change.error.set_message("why");
  change.result.set_version(3);
  return store.Apply(id, change);
}

TEST(InMemoryJobStoreTest, ANewJobIsQueued) {
  const auto store = NewInMemoryJobStore();
  const std::string id = Create(*store);
  const auto job = store->Get(id, JobParts::kWhole);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(job->created().seconds(), 1'769'903'999);
  EXPECT_EQ(job->request().model(), "m");
  EXPECT_FALSE(job->has_started());
}

TEST(InMemoryJobStoreTest, AChangeOfStateBringsItsTimeAndItsCause) {
  const auto store = NewInMemoryJobStore();
  const std::string failed = Create(*store);
  ASSERT_TRUE(Change(*store, failed, v1::JOB_STATE_RUNNING).ok());
  EXPECT_EQ(store->Get(failed, JobParts::kWhole)->started().seconds(), 1'769'903'999 + 2);
  ASSERT_TRUE(Change(*store, failed, v1::JOB_STATE_FAILED).ok());
  const v1::Job job = *store->Get(failed, JobParts::kWhole);
  EXPECT_EQ(job.ended().seconds(), 1'769'903'999 + 4);
  EXPECT_EQ(job.error().message(), "why");
  EXPECT_FALSE(job.has_result());

  const std::string succeeded = Create(*store);
  ASSERT_TRUE(Change(*store, succeeded, v1::JOB_STATE_RUNNING).ok());
  ASSERT_TRUE(Change(*store, succeeded, v1::JOB_STATE_SUCCEEDED).ok());
  EXPECT_EQ(store->Get(succeeded, JobParts::kWhole)->result().version(), 3);
  EXPECT_FALSE(store->Get(succeeded, JobParts::kWhole)->has_error());
}

TEST(InMemoryJobStoreTest, AnUnlawfulChangeChangesNothing) {
  const auto store = NewInMemoryJobStore();
  const std::string id = Create(*store);
  EXPECT_EQ(Change(*store, id, v1::JOB_STATE_SUCCEEDED).code(),
            absl::StatusCode::kFailedPrecondition);
  const v1::Job job = *store->Get(id, JobParts::kWhole);
  EXPECT_EQ(job.state(), v1::JOB_STATE_QUEUED);
  EXPECT_FALSE(job.has_ended());
  EXPECT_FALSE(job.has_result());
}

TEST(InMemoryJobStoreTest, EpochsAreKeptInOrderWithoutGaps) {
  const auto store = NewInMemoryJobStore();
  const std::string id = Create(*store);
  EXPECT_FALSE(store->AppendEpoch(id, Epoch(1)).ok());  // not running yet
  ASSERT_TRUE(Change(*store, id, v1::JOB_STATE_RUNNING).ok());
  for (int e = 1; e <= 5; ++e) ASSERT_TRUE(store->AppendEpoch(id, Epoch(e)).ok());
  EXPECT_FALSE(store->AppendEpoch(id, Epoch(5)).ok());
  EXPECT_FALSE(store->AppendEpoch(id, Epoch(7)).ok());
  const auto numbers = [&](int64_t after, int64_t limit) {
    std::vector<int64_t> epochs;
    const std::vector<v1::EpochRecord> records = *store->Epochs(id, after, limit);
    for (const v1::EpochRecord& record : records) epochs.push_back(record.epoch());
    return epochs;
  };
  EXPECT_THAT(numbers(0, 100), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(numbers(2, 2), ElementsAre(3, 4));
  EXPECT_THAT(numbers(5, 100), IsEmpty());
  EXPECT_THAT(numbers(INT64_MAX, 100), IsEmpty());
  EXPECT_THAT(numbers(-1, 1), ElementsAre(1));
  EXPECT_EQ(store->Get(id, JobParts::kWhole)->history_size(), 5);
  const v1::Job listed = *store->Get(id, JobParts::kListed);
  EXPECT_EQ(listed.history_size(), 0);
  EXPECT_THAT(listed.summary(), IsEmpty());
  EXPECT_EQ(listed.request().model(), "m");
}

TEST(InMemoryJobStoreTest, ListsTheNewestFirstFromAnyPlace) {
  const auto store = NewInMemoryJobStore();
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(Create(*store));
  const auto list = [&](const std::string& before, int64_t limit) {
    std::vector<std::string> listed;
    const std::vector<v1::Job> jobs = *store->List(before, limit);
    for (const v1::Job& job : jobs) listed.push_back(job.id());
    return listed;
  };
  EXPECT_THAT(list("", 2), ElementsAre(ids[4], ids[3]));
  EXPECT_THAT(list(ids[3], 2), ElementsAre(ids[2], ids[1]));
  EXPECT_THAT(list(ids[1], 2), ElementsAre(ids[0]));
  EXPECT_THAT(list(ids[0], 2), IsEmpty());
}

TEST(InMemoryJobStoreTest, UnknownAndImpossibleIdsAreToldApart) {
  const auto store = NewInMemoryJobStore();
  const absl::Status unknown = store->Get("j-20260131-235959-042", JobParts::kWhole).status();
  EXPECT_EQ(unknown.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(unknown.message()), HasSubstr("j-20260131-235959-042"));
  EXPECT_EQ(store->State("../x").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(InMemoryJobStoreTest, ForgetsTheJobsThatEndedFirst) {
  InMemoryJobStoreLimits limits;
  limits.max_ended = 2;
  const auto store = NewInMemoryJobStore(limits);
  const std::string waits = Create(*store);
  std::vector<std::string> ids;
  for (int i = 0; i < 4; ++i) ids.push_back(Create(*store));
  for (const int i : {1, 0, 2, 3}) {
    ASSERT_TRUE(Change(*store, ids[i], v1::JOB_STATE_CANCELLED).ok());
  }
  EXPECT_FALSE(store->State(ids[1]).ok());
  EXPECT_FALSE(store->State(ids[0]).ok());
  EXPECT_TRUE(store->State(ids[2]).ok());
  EXPECT_TRUE(store->State(ids[3]).ok());
  EXPECT_TRUE(store->State(waits).ok());
}

TEST(InMemoryJobStoreTest, ARequestIdIsKnownAsLongAsItsJob) {
  InMemoryJobStoreLimits limits;
  limits.max_ended = 1;
  const auto store = NewInMemoryJobStore(limits);
  v1::Job job;
  job.mutable_request()->set_request_id("retry");
  const std::string id = store->Create(job, kTime, "5e17")->id();
  EXPECT_EQ(store->FindRequest("retry")->job_id, id);
  EXPECT_EQ(store->FindRequest("retry")->sha256, "5e17");
  EXPECT_THAT(store->FindRequest("other")->sha256, IsEmpty());
  EXPECT_THAT(store->FindRequest("other")->job_id, IsEmpty());
  EXPECT_THAT(store->FindRequest("")->job_id, IsEmpty());
  ASSERT_TRUE(Change(*store, id, v1::JOB_STATE_CANCELLED).ok());
  EXPECT_EQ(store->FindRequest("retry")->job_id, id);
  ASSERT_TRUE(Change(*store, Create(*store), v1::JOB_STATE_CANCELLED).ok());
  EXPECT_THAT(store->FindRequest("retry")->job_id, IsEmpty());
}

TEST(InMemoryJobStoreTest, ForgetsBySizeTooButNeverTheNewest) {
  InMemoryJobStoreLimits limits;
  limits.max_ended_bytes = 1;
  const auto store = NewInMemoryJobStore(limits);
  const std::string first = Create(*store);
  const std::string second = Create(*store);
  ASSERT_TRUE(Change(*store, first, v1::JOB_STATE_CANCELLED).ok());
  EXPECT_TRUE(store->State(first).ok());
  ASSERT_TRUE(Change(*store, second, v1::JOB_STATE_CANCELLED).ok());
  EXPECT_FALSE(store->State(first).ok());
  EXPECT_TRUE(store->State(second).ok());
}

}  // namespace
}  // namespace convd
