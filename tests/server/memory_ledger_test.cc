#include "server/memory_ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <utility>
#include <vector>

namespace convd {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kMegabyte = int64_t{1} << 20;

TEST(MemoryLedger, GivesWhatIsLeftAndTakesItBack) {
  MemoryLedger ledger({.jobs = 100 * kMegabyte, .all = 120 * kMegabyte});
  std::optional<MemoryLedger::Share> a = *ledger.TakeForJob("a", 60 * kMegabyte);
  const auto b = ledger.TakeForJob("b", 41 * kMegabyte);
  EXPECT_TRUE(absl::IsResourceExhausted(b.status()));
  EXPECT_THAT(b.status().message(),
              HasSubstr("takes about 41 MB of memory, and jobs may take 100 MB together; taken by "
                        "job a 60 MB"));
  EXPECT_EQ(ledger.taken().jobs, 60 * kMegabyte);
  EXPECT_TRUE(ledger.TakeForJob("b", 40 * kMegabyte).ok());
  a.reset();
  EXPECT_TRUE(ledger.TakeForJob("b", 100 * kMegabyte).ok());
}

TEST(MemoryLedger, LeavesModelsWhatJobsMayNotTake) {
  MemoryLedger ledger({.jobs = 100 * kMegabyte, .all = 120 * kMegabyte});
  const auto job = ledger.TakeForJob("a", 100 * kMegabyte);
  ASSERT_TRUE(job.ok());
  std::vector<MemoryLedger::Share> models;
  for (int i = 0; i < 2; ++i) {
    auto model = ledger.TakeForModel(10 * kMegabyte);
    ASSERT_TRUE(model.ok()) << model.status();
    models.push_back(*std::move(model));
  }
  EXPECT_EQ(ledger.taken().models, 20 * kMegabyte);
  const auto third = ledger.TakeForModel(1);
  EXPECT_TRUE(absl::IsResourceExhausted(third.status()));
  EXPECT_THAT(third.status().message(),
              HasSubstr("takes about 1 MB of memory, and jobs and loaded models may take 120 MB "
                        "together; taken by job a 100 MB, 2 loaded models 20 MB"));
  models.pop_back();
  EXPECT_TRUE(ledger.TakeForModel(1).ok());
}

TEST(MemoryLedger, ModelsBeyondTheirOwnPartKeepAJobWaiting) {
  MemoryLedger ledger({.jobs = 100 * kMegabyte, .all = 120 * kMegabyte});
  const auto model = ledger.TakeForModel(30 * kMegabyte);
  ASSERT_TRUE(model.ok());
  const auto job = ledger.TakeForJob("a", 91 * kMegabyte);
  EXPECT_THAT(job.status().message(), HasSubstr("taken by 1 loaded model 30 MB"));
  EXPECT_TRUE(ledger.TakeForJob("a", 90 * kMegabyte).ok());
}

TEST(MemoryLedger, AMovedShareIsGivenBackOnce) {
  MemoryLedger ledger({.jobs = 10, .all = 10});
  {
    MemoryLedger::Share share = *ledger.TakeForJob("a", 10);
    MemoryLedger::Share moved = std::move(share);
    EXPECT_FALSE(ledger.TakeForJob("b", 1).ok());
    MemoryLedger::Share assigned;
    assigned = std::move(moved);
    EXPECT_FALSE(ledger.TakeForJob("b", 1).ok());
  }
  EXPECT_TRUE(ledger.TakeForJob("b", 10).ok());
}

TEST(MemoryLedger, AShareMayShrinkAndNeverGrows) {
  MemoryLedger ledger({.jobs = 0, .all = 10});
  auto share = ledger.TakeForModel(10);
  ASSERT_TRUE(share.ok());
  share->ShrinkTo(4);
  share->ShrinkTo(9);
  EXPECT_EQ(ledger.taken().models, 4);
  EXPECT_TRUE(ledger.TakeForModel(6).ok());
}

TEST(MemoryLedger, HugeEstimatesDoNotOverflow) {
  MemoryLedger ledger({.jobs = 100, .all = 100});
  const auto job = ledger.TakeForJob("a", 100);
  ASSERT_TRUE(job.ok());
  EXPECT_FALSE(ledger.TakeForModel(INT64_MAX).ok());
  EXPECT_FALSE(ledger.TakeForJob("b", INT64_MAX).ok());
}

TEST(MemoryLedger, HasNoLimitWhereTheMemoryIsNotKnown) {
  MemoryLedger ledger({});
  const auto a = ledger.TakeForJob("a", int64_t{1} << 60);
  EXPECT_TRUE(a.ok());
  EXPECT_TRUE(ledger.TakeForModel(int64_t{1} << 60).ok());
}

}  // namespace
}  // namespace convd
