// The job store on a disk that fails.

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>

#include "server/jobs/store.h"
#include "tests/core/time/hand_clock.h"
#include "tests/simulation/disk_vfs.h"
#include "tests/simulation/simulated_disk.h"

namespace convd {
namespace {

class StoreFaultsTest : public ::testing::Test {
 protected:
  void NewDisk(uint64_t seed) {
    store_.reset();
    vfs_.reset();
    disk_ = std::make_unique<SimulatedDisk>(seed);
    vfs_ = std::make_unique<DiskVfs>(*disk_, clock_, seed);
    ASSERT_TRUE(disk_->CreateDirectories("/s").ok());
    ASSERT_TRUE(disk_->SyncDirectory("/").ok());
  }
  absl::Status Open() {
    store_.reset();
    auto store = OpenSqliteJobStore(*disk_, "/s", vfs_->name());
    if (store.ok()) store_ = *std::move(store);
    return store.status();
  }
  void CutPower() {
    disk_->CrashAt(1);
    disk_->CreateDirectories("/now").IgnoreError();
    store_.reset();
    disk_->Restart(Survival::kNothing);
  }
  absl::Status Change(const std::string& id, v1::JobState state) {
    JobChange change;
    change.state = state;
    change.time = clock_.Now();
    return store_->Apply(id, change);
  }

  HandClock clock_;
  std::unique_ptr<SimulatedDisk> disk_;
  std::unique_ptr<DiskVfs> vfs_;
  std::unique_ptr<JobStore> store_;
};

// SQLite says that a file is in WAL mode before it has written that.
TEST_F(StoreFaultsTest, AnOpeningThatFailsAnywhereIsAnErrorOrAsGoodAsOneThatDoesNot) {
  NewDisk(1);
  const int64_t before = disk_->operations();
  ASSERT_TRUE(Open().ok());
  const int64_t operations = disk_->operations() - before;
  EXPECT_GT(operations, 20);
  int64_t failed = 0;
  for (int64_t at = 1; at <= operations; ++at) {
    NewDisk(static_cast<uint64_t>(at));
    disk_->FailAt(at, absl::InternalError("input/output error"));
    const absl::Status opened = Open();
    disk_->FailAt(0, absl::OkStatus());
    failed += !opened.ok();
    if (!opened.ok()) {
      ASSERT_TRUE(Open().ok()) << "after operation " << at;
    }
    const auto job = store_->Create({}, clock_.Now());
    ASSERT_TRUE(job.ok()) << job.status();
    CutPower();
    ASSERT_TRUE(Open().ok()) << "after operation " << at;
    EXPECT_TRUE(store_->State(job->id()).ok()) << "after operation " << at;
  }
  EXPECT_GT(failed, operations / 2);
}

// Found in SQLite's log after a restart, it would undo what was confirmed meanwhile.
TEST_F(StoreFaultsTest, AChangeThatFailedDoesNotComeBackOnceItIsSettled) {
  for (const bool settle : {false, true}) {
    NewDisk(1);
    ASSERT_TRUE(Open().ok());
    const std::string id = store_->Create({}, clock_.Now())->id();
    ASSERT_TRUE(Change(id, v1::JOB_STATE_PAUSED).ok());
    disk_->FailIf([](const SimulatedDisk::Operation& operation) {
      return operation.kind == SimulatedDisk::Operation::Kind::kSync
                 ? absl::InternalError("input/output error")
                 : absl::OkStatus();
    });
    EXPECT_FALSE(Change(id, v1::JOB_STATE_QUEUED).ok());
    EXPECT_EQ(*store_->State(id), v1::JOB_STATE_PAUSED);
    if (settle) {
      EXPECT_FALSE(store_->Settle().ok());
    }
    disk_->FailIf(nullptr);
    if (settle) {
      // A change to what is there already writes nothing, so it settles nothing.
      EXPECT_TRUE(store_->SetPriority(id, 0).ok());
      EXPECT_TRUE(store_->Settle().ok());
      EXPECT_TRUE(store_->Settle().ok());
    }
    // The process is killed: what was written is there.
    disk_->CrashAt(1);
    disk_->CreateDirectories("/now").IgnoreError();
    store_.reset();
    disk_->Restart(Survival::kEverything);
    ASSERT_TRUE(Open().ok());
    EXPECT_EQ(*store_->State(id), settle ? v1::JOB_STATE_PAUSED : v1::JOB_STATE_QUEUED);
  }
}

}  // namespace
}  // namespace convd
