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
  JobRecord record;
  record.job.mutable_request()->set_model("m");
  record.job.set_summary("table");
  return store.Create(record, kTime)->id();
}

absl::Status Change(JobStore& store, const std::string& id, v1::JobState state) {
  JobChange change;
  change.state = state;
  change.time = kTime + absl::Seconds(state);
  change.error.set_code(3);
  change.error.set_message("why");
  change.result.set_version(3);
  return store.Apply(id, change);
}

TEST(SqliteJobStoreTest, ANewJobIsQueued) {
  const auto store = *NewInMemoryJobStore();
  const std::string id = Create(*store);
  const auto job = store->Get(id, JobParts::kWhole);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(job->created().seconds(), 1'769'903'999);
  EXPECT_EQ(job->request().model(), "m");
  EXPECT_FALSE(job->has_started());
}

TEST(SqliteJobStoreTest, AChangeOfStateBringsItsTimeAndItsCause) {
  const auto store = *NewInMemoryJobStore();
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

TEST(SqliteJobStoreTest, AnUnlawfulChangeChangesNothing) {
  const auto store = *NewInMemoryJobStore();
  const std::string id = Create(*store);
  EXPECT_EQ(Change(*store, id, v1::JOB_STATE_SUCCEEDED).code(),
            absl::StatusCode::kFailedPrecondition);
  const v1::Job job = *store->Get(id, JobParts::kWhole);
  EXPECT_EQ(job.state(), v1::JOB_STATE_QUEUED);
  EXPECT_FALSE(job.has_ended());
  EXPECT_FALSE(job.has_result());
}

TEST(SqliteJobStoreTest, EpochsAreKeptInOrderWithoutGaps) {
  const auto store = *NewInMemoryJobStore();
  const std::string id = Create(*store);
  EXPECT_FALSE(store->PutEpoch(id, Epoch(1)).ok());  // not running yet
  ASSERT_TRUE(Change(*store, id, v1::JOB_STATE_RUNNING).ok());
  for (int e = 1; e <= 5; ++e) ASSERT_TRUE(store->PutEpoch(id, Epoch(e)).ok());
  EXPECT_FALSE(store->PutEpoch(id, Epoch(7)).ok());
  EXPECT_FALSE(store->PutEpoch(id, Epoch(0)).ok());
  // After a restart epochs since the last checkpoint come again.
  v1::EpochRecord slower = Epoch(4);
  slower.set_seconds(9);
  ASSERT_TRUE(store->PutEpoch(id, slower).ok());
  EXPECT_EQ(store->Epochs(id, 3, 1)->at(0).seconds(), 9);
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

TEST(SqliteJobStoreTest, ListsTheNewestFirstFromAnyPlace) {
  const auto store = *NewInMemoryJobStore();
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

TEST(SqliteJobStoreTest, UnknownAndImpossibleIdsAreToldApart) {
  const auto store = *NewInMemoryJobStore();
  const absl::Status unknown = store->Get("j-20260131-235959-042", JobParts::kWhole).status();
  EXPECT_EQ(unknown.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(unknown.message()), HasSubstr("j-20260131-235959-042"));
  EXPECT_EQ(store->State("../x").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(SqliteJobStoreTest, ARequestIdIsKnownForEver) {
  const auto store = *NewInMemoryJobStore();
  JobRecord record;
  record.job.mutable_request()->set_request_id("retry");
  record.sent_sha256 = "5e17";
  const std::string id = store->Create(record, kTime)->id();
  EXPECT_EQ(store->FindRequest("retry")->job_id, id);
  EXPECT_EQ(store->FindRequest("retry")->sha256, "5e17");
  EXPECT_THAT(store->FindRequest("other")->job_id, IsEmpty());
  EXPECT_THAT(store->FindRequest("")->job_id, IsEmpty());
  ASSERT_TRUE(Change(*store, id, v1::JOB_STATE_CANCELLED).ok());
  EXPECT_EQ(store->FindRequest("retry")->job_id, id);
  // The store itself never has two of them.
  EXPECT_EQ(store->Create(record, kTime).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(store->List("", 10)->size(), 1u);
}

TEST(SqliteJobStoreTest, EverythingIsThereAgainAfterARestart) {
  const TestStateDir state_dir;
  const std::string& folder = state_dir.path();
  auto store = *OpenSqliteJobStore(FileSystem::Posix(), folder);
  JobRecord record;
  v1::Job& job = record.job;
  job.mutable_request()->set_model("m");
  job.mutable_request()->set_request_id("r");
  job.mutable_request()->set_priority(7);
  job.mutable_request()->mutable_dataset()->set_name("digits");
  job.mutable_request()->mutable_validation()->mutable_dataset()->set_name("more");
  job.set_summary("table");
  job.add_warnings("careful");
  record.sent_sha256 = "s";
  record.data_sha256 = "d";
  record.validation_sha256 = "v";
  const std::string id = store->Create(record, kTime)->id();
  JobChange change;
  change.state = v1::JOB_STATE_RUNNING;
  change.time = kTime + absl::Nanoseconds(5);
  change.crashes = 2;
  ASSERT_TRUE(store->Apply(id, change).ok());
  ASSERT_TRUE(store->PutEpoch(id, Epoch(1)).ok());
  ASSERT_TRUE(store->SetWish(id, v1::JOB_STATE_PAUSED).ok());
  const v1::Job before = *store->Get(id, JobParts::kWhole);
  store.reset();
  store = *OpenSqliteJobStore(FileSystem::Posix(), folder);
  EXPECT_EQ(store->Get(id, JobParts::kWhole)->DebugString(), before.DebugString());
  EXPECT_EQ(before.attempts(), 1);
  EXPECT_EQ(before.priority(), 7);
  EXPECT_EQ(before.started().nanos(), 5);
  EXPECT_EQ(before.history_size(), 1);
  const JobRecord kept = *store->GetRecord(id);
  EXPECT_EQ(kept.sent_sha256, "s");
  EXPECT_EQ(kept.data_sha256, "d");
  EXPECT_EQ(kept.validation_sha256, "v");
  EXPECT_EQ(kept.crashes, 2);
  const std::vector<LiveJob> live = *store->Live();
  ASSERT_EQ(live.size(), 1u);
  EXPECT_EQ(live[0].id, id);
  EXPECT_EQ(live[0].created, kTime);
  EXPECT_EQ(live[0].priority, 7);
  EXPECT_TRUE(live[0].started);
  EXPECT_EQ(live[0].wished, v1::JOB_STATE_PAUSED);
  EXPECT_EQ(live[0].train_dataset, "digits");
  EXPECT_EQ(live[0].validation_dataset, "more");
  // A clock that was set back makes no id twice.
  record.job.mutable_request()->clear_request_id();
  EXPECT_GT(store->Create(record, kTime - absl::Hours(1))->id(), id);
}

TEST(SqliteJobStoreTest, AWishEndsWithTheNextChangeAndSoDoesAnError) {
  const auto store = *NewInMemoryJobStore();
  const std::string id = Create(*store);
  ASSERT_TRUE(Change(*store, id, v1::JOB_STATE_RUNNING).ok());
  ASSERT_TRUE(store->SetWish(id, v1::JOB_STATE_PAUSED).ok());
  ASSERT_TRUE(Change(*store, id, v1::JOB_STATE_PAUSED).ok());
  EXPECT_EQ(store->Live()->at(0).wished, v1::JOB_STATE_UNSPECIFIED);
  EXPECT_EQ(store->Get(id, JobParts::kWhole)->error().message(), "why");
  JobChange change;
  change.state = v1::JOB_STATE_QUEUED;
  change.time = kTime;
  ASSERT_TRUE(store->Apply(id, change).ok());
  EXPECT_FALSE(store->Get(id, JobParts::kWhole)->has_error());
}

TEST(SqliteJobStoreTest, OnlyJobsThatLiveAreInTheQueuesMaterial) {
  const auto store = *NewInMemoryJobStore();
  std::vector<std::string> ids;
  for (int i = 0; i < 4; ++i) ids.push_back(Create(*store));
  ASSERT_TRUE(Change(*store, ids[0], v1::JOB_STATE_CANCELLED).ok());
  ASSERT_TRUE(Change(*store, ids[1], v1::JOB_STATE_PAUSED).ok());
  ASSERT_TRUE(Change(*store, ids[3], v1::JOB_STATE_RUNNING).ok());
  std::vector<std::string> live;
  const std::vector<LiveJob> jobs = *store->Live();
  for (const LiveJob& job : jobs) live.push_back(job.id);
  EXPECT_THAT(live, ElementsAre(ids[1], ids[2], ids[3]));
}

}  // namespace
}  // namespace convd
