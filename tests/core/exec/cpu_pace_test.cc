#include "core/exec/cpu_pace.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "absl/time/time.h"

namespace convd {
namespace {

constexpr absl::Duration Ms(int64_t milliseconds) { return absl::Milliseconds(milliseconds); }

// A core's worth: 94 ms of each 100 are given out.
TEST(CpuPace, PausesUntilWhatWasTakenAheadIsMadeUpFor) {
  CpuPace pace(Ms(100), Ms(100), Ms(5000), Ms(300));
  // 47 ms given out, 94 taken: the other 47 take 50 ms to come.
  EXPECT_NEAR(absl::ToDoubleMilliseconds(pace.Pause(Ms(5050), Ms(394))), 50, 1e-6);
  EXPECT_NEAR(absl::ToDoubleMilliseconds(pace.Pause(Ms(5075), Ms(394))), 25, 1e-6);
  EXPECT_EQ(pace.Pause(Ms(5101), Ms(394)), absl::ZeroDuration());
}

TEST(CpuPace, LetsAProcessBeThatStaysUnderItsQuota) {
  CpuPace pace(Ms(100), Ms(100), Ms(0), Ms(0));
  for (int64_t i = 1; i <= 1000; ++i) {
    ASSERT_EQ(pace.Pause(Ms(10 * i), Ms(9 * i)), absl::ZeroDuration()) << i;
  }
}

TEST(CpuPace, SavesUpTwoPercentOfTheQuotaAtMost) {
  CpuPace pace(Ms(100), Ms(100), Ms(0), Ms(0));
  EXPECT_EQ(pace.Pause(absl::Hours(1), Ms(0)), absl::ZeroDuration());
  EXPECT_EQ(pace.Pause(absl::Hours(1), Ms(2)), absl::ZeroDuration());
  EXPECT_NEAR(
      absl::ToDoubleMilliseconds(pace.Pause(absl::Hours(1), Ms(2) + absl::Microseconds(94))), 0.1,
      1e-6);
}

// In any 100 ms, wherever they begin, the quota isn't used up.
TEST(CpuPace, KeepsAProcessThatAlwaysWantsTwoCoresUnderOneAndAHalf) {
  CpuPace pace(Ms(150), Ms(100), Ms(0), Ms(0));
  constexpr int kSteps = 20'000;  // of 0.1 ms
  std::vector<double> used = {0};
  double paused_until = 0;
  for (int i = 1; i <= kSteps; ++i) {
    const double now = 0.1 * i;
    used.push_back(used.back() + (now <= paused_until ? 0 : 0.2));
    const absl::Duration pause =
        pace.Pause(absl::Milliseconds(now), absl::Milliseconds(used.back()));
    if (pause > absl::ZeroDuration()) paused_until = now + absl::ToDoubleMilliseconds(pause);
    if (i >= 1000) {
      ASSERT_LT(used[i] - used[i - 1000], 150 * 0.97) << i;
    }
  }
  EXPECT_GT(used.back(), 0.93 * 1.5 * 0.1 * kSteps);
}

TEST(CpuPace, CountsAgainstTheQuotaWhatOthersOfTheProcessTook) {
  CpuPace pace(Ms(50), Ms(100), Ms(0), Ms(0));
  // Training had nothing; predictions took 57 ms where 47 are given out.
  EXPECT_NEAR(absl::ToDoubleMilliseconds(pace.Pause(Ms(100), Ms(57))), 10 / 0.47, 1e-6);
}

TEST(CpuPace, StandsStillForHalfAPeriodAtMostHoweverMuchOthersTook) {
  CpuPace pace(Ms(50), Ms(100), Ms(0), Ms(0));
  EXPECT_NEAR(absl::ToDoubleMilliseconds(pace.Pause(Ms(100), Ms(200))), 25 / 0.47, 1e-6);
}

}  // namespace
}  // namespace convd
