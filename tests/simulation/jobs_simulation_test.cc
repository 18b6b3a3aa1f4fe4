#include "tests/simulation/jobs_simulation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/strings/numbers.h"

namespace convd {
namespace {

using ::testing::IsEmpty;

// CONVD_SIMULATION_SEED=N runs that one alone, as a failure says it; CONVD_SIMULATION_SEEDS=N so
// many, from 1.
uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  uint64_t value = 0;
  return text != nullptr && absl::SimpleAtoi(text, &value) ? value : otherwise;
}

// An eighth of the seeds, so that cores share them.
class JobsSimulationTest : public ::testing::TestWithParam<uint64_t> {};

TEST_P(JobsSimulationTest, WhatWasAcknowledgedStaysSo) {
  const uint64_t only = FromEnvironment("CONVD_SIMULATION_SEED", 0);
  const uint64_t seeds = FromEnvironment("CONVD_SIMULATION_SEEDS", CONVD_SIMULATION_SEEDS);
  SimulationCounts all;
  for (uint64_t seed = 1 + GetParam(); seed <= seeds; seed += 8) {
    if (only != 0 && seed != 1 + GetParam()) break;
    SimulationOptions options;
    options.seed = only != 0 ? only : seed;
    const SimulationResult result = SimulateJobs(options);
    ASSERT_THAT(result.faults, IsEmpty())
        << "replay with CONVD_SIMULATION_SEED=" << options.seed << " --gtest_filter='*/0'";
    all.Add(result.counts);
  }
  RecordProperty("jobs", std::to_string(all.submitted));
  if (only != 0) return;
  // It has tried what it is there for.
  EXPECT_GT(all.succeeded, 0);
  EXPECT_GT(all.cancelled, 0);
  EXPECT_GT(all.resumed, 0);
  EXPECT_GT(all.power_cuts, 0);
  EXPECT_GT(all.kills, 0);
  EXPECT_GT(all.stops, 0);
  EXPECT_GT(all.disk_faults, 0);
  std::printf("%s\n", all.Text().c_str());
}

INSTANTIATE_TEST_SUITE_P(Eighths, JobsSimulationTest, ::testing::Range<uint64_t>(0, 8));

}  // namespace
}  // namespace convd
