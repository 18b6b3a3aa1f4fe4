// A fault of the disk, and a power cut, at every operation of some jobs' lives.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>

#include "tests/simulation/jobs_simulation.h"
#include "tests/simulation/small_jobs.h"

namespace convd {
namespace {

using ::testing::IsEmpty;

// Sanitizers take ten times as long.
#ifdef CONVD_EVERY_POSITION_STEP
constexpr int64_t kStep = CONVD_EVERY_POSITION_STEP;
#else
constexpr int64_t kStep = 1;
#endif

SimulationOptions Script() {
  SimulationOptions options;
  options.seed = 1;
  options.scripted = true;
  return options;
}

int64_t Operations() {
  const SimulationResult unbroken = SimulateJobs(Script());
  EXPECT_THAT(unbroken.faults, IsEmpty());
  EXPECT_EQ(unbroken.counts.succeeded, kSmallJobKinds);
  EXPECT_GT(unbroken.counts.operations, 300);
  return unbroken.counts.operations;
}

// The one job that runs meanwhile may fail by it, with nothing published; the others don't.
TEST(EveryPositionTest, AFaultOfTheDiskFailsOneJobAtMost) {
  for (const absl::Status& fault : {absl::ResourceExhaustedError("no space left on device"),
                                    absl::InternalError("input/output error")}) {
    int64_t failed = 0;
    for (int64_t at = 1; at <= Operations(); at += kStep) {
      SimulationOptions options = Script();
      options.fault_at = at;
      options.fault = fault;
      const SimulationResult result = SimulateJobs(options);
      EXPECT_THAT(result.faults, IsEmpty()) << fault << " at operation " << at;
      EXPECT_LE(result.counts.failed, 1) << fault << " at operation " << at;
      EXPECT_GE(result.counts.failed + result.counts.succeeded, kSmallJobKinds - 1)
          << fault << " at operation " << at;
      failed += result.counts.failed;
    }
    EXPECT_GT(failed, 0);
  }
}

TEST(EveryPositionTest, APowerCutCostsNothing) {
  for (const Survival survival : {Survival::kNothing, Survival::kBySeed, Survival::kEverything}) {
    for (int64_t at = 1; at <= Operations(); at += kStep) {
      SimulationOptions options = Script();
      options.seed = static_cast<uint64_t>(at);
      options.cut_at = at;
      options.survival = survival;
      const SimulationResult result = SimulateJobs(options);
      EXPECT_THAT(result.faults, IsEmpty()) << "cut at operation " << at;
      EXPECT_EQ(result.counts.failed, 0) << "cut at operation " << at;
    }
  }
}

// What a failed sync left in the kernel's cache alone must not be built upon.
TEST(EveryPositionTest, NorDoesAPowerCutAfterAFault) {
  for (int64_t at = 1; at <= Operations(); at += kStep) {
    SimulationOptions options = Script();
    options.seed = static_cast<uint64_t>(at);
    options.fault_at = at;
    options.fault = absl::InternalError("input/output error");
    options.cut_at = at + 1 + at % 40;
    const SimulationResult result = SimulateJobs(options);
    EXPECT_THAT(result.faults, IsEmpty())
        << "a fault at operation " << at << ", cut at " << options.cut_at;
  }
}

}  // namespace
}  // namespace convd
