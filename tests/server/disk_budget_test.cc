#include "server/disk_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/core/time/hand_clock.h"
#include "tests/simulation/simulated_disk.h"

namespace convd {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kMiB = int64_t{1} << 20;

class DiskBudgetTest : public ::testing::Test {
 protected:
  DiskBudgetTest() { EXPECT_TRUE(disk_.CreateDirectories("/state").ok()); }

  DiskBudget Budget(int64_t max_bytes) { return DiskBudget(disk_, clock_, "/state", max_bytes); }
  void Write(const std::string& path, int64_t bytes) {
    auto file = disk_.Create(path);
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE((*file)->Append(std::string(static_cast<size_t>(bytes), 'x')).ok());
  }
  static void ExpectFull(const absl::Status& status, const std::string& words) {
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  }

  SimulatedDisk disk_{1};
  HandClock clock_;
};

TEST_F(DiskBudgetTest, WithoutALimitOnlyTheDiskCounts) {
  DiskBudget budget = Budget(0);
  EXPECT_TRUE(budget.Take(int64_t{1} << 50).ok());
}

TEST_F(DiskBudgetTest, WhatFillsTheLimitFitsAndAByteMoreDoesnt) {
  Write("/state/a", kMiB);
  Write("/elsewhere", 100 * kMiB);
  DiskBudget budget = Budget(2 * kMiB);
  ExpectFull(budget.Take(kMiB + 1),
             "the state folder takes 1.0 MiB, and 1.0 MiB more are wanted; --max-state-bytes "
             "allows 2.0 MiB");
  EXPECT_TRUE(budget.Take(kMiB).ok());
  EXPECT_TRUE(budget.Take(0).ok());
  // Counted though it isn't written yet. Looked at again, the folder has it or not.
  Write("/state/b", kMiB);
  ExpectFull(budget.Take(1), "takes 2.0 MiB");
}

TEST_F(DiskBudgetTest, AFolderBeyondItsLimitTakesNothingAtAll) {
  Write("/state/a", 2 * kMiB);
  DiskBudget budget = Budget(kMiB);
  ExpectFull(budget.Take(0), "takes 2.0 MiB; --max-state-bytes allows 1.0 MiB");
}

TEST_F(DiskBudgetTest, WhatWasSaidOkToCountsUntilTheFolderIsLookedAtAgain) {
  DiskBudget budget = Budget(4 * kMiB);
  EXPECT_TRUE(budget.Take(3 * kMiB).ok());
  EXPECT_TRUE(budget.Take(kMiB).ok());
  // Nothing was written, which a second later shows.
  clock_.Advance(absl::Seconds(1));
  EXPECT_TRUE(budget.Take(4 * kMiB).ok());
}

TEST_F(DiskBudgetTest, RoomThatWasMadeIsSeenAtOnce) {
  Write("/state/a", 4 * kMiB);
  DiskBudget budget = Budget(4 * kMiB);
  EXPECT_FALSE(budget.Take(1).ok());
  ASSERT_TRUE(disk_.Remove("/state/a").ok());
  EXPECT_TRUE(budget.Take(1).ok());
}

TEST_F(DiskBudgetTest, WithinASecondTheFolderIsntWalkedAgain) {
  DiskBudget budget = Budget(8 * kMiB);
  EXPECT_TRUE(budget.Take(kMiB).ok());
  Write("/state/a", 7 * kMiB);  // by somebody who didn't ask
  EXPECT_TRUE(budget.Take(kMiB).ok());
  clock_.Advance(absl::Seconds(1));
  EXPECT_FALSE(budget.Take(2 * kMiB).ok());
}

TEST_F(DiskBudgetTest, SomeOfTheDisksRoomIsKeptForWhatWasAcceptedBefore) {
  Write("/elsewhere", 10 * kMiB);
  disk_.SetCapacity(10 * kMiB + DiskBudget::kReserve + 5 * kMiB);
  DiskBudget budget = Budget(0);
  ExpectFull(budget.Take(5 * kMiB + 1),
             "disk has 37.0 MiB free, and 5.0 MiB more are wanted; 32.0 MiB are kept");
  EXPECT_TRUE(budget.Take(5 * kMiB).ok());
  Write("/elsewhere2", 6 * kMiB);
  clock_.Advance(absl::Seconds(1));
  ExpectFull(budget.Take(0), "disk has 31.0 MiB free; 32.0 MiB are kept");
}

TEST_F(DiskBudgetTest, AFolderThatCantBeLookedAtIsAnErrorOfItsOwn) {
  ASSERT_TRUE(disk_.RemoveAll("/state").ok());
  EXPECT_TRUE(absl::IsNotFound(Budget(0).Take(0)));
  EXPECT_TRUE(absl::IsNotFound(Budget(kMiB).Take(0)));
}

}  // namespace
}  // namespace convd
