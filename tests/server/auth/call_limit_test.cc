#include "server/auth/call_limit.h"

#include <gtest/gtest.h>

namespace convd {
namespace {

using Answer = CallLimit::Answer;

TEST(CallLimitTest, TheBucketHoldsASecondAndFillsAtTheRate) {
  CallLimit limit({.rate = 2, .concurrent = 0});
  EXPECT_EQ(limit.Take(absl::Seconds(10)).answer, Answer::kTaken);
  EXPECT_EQ(limit.Take(absl::Seconds(10)).answer, Answer::kTaken);
  const CallLimit::Taken third = limit.Take(absl::Seconds(10));
  EXPECT_EQ(third.answer, Answer::kTooFast);
  EXPECT_EQ(third.retry_after, absl::Milliseconds(500));
  EXPECT_EQ(limit.Take(absl::Milliseconds(10'500)).answer, Answer::kTaken);
  EXPECT_EQ(limit.Take(absl::Milliseconds(10'500)).answer, Answer::kTooFast);
  // However long nobody called, there is no more than a second's worth.
  int taken = 0;
  while (limit.Take(absl::Hours(1)).answer == Answer::kTaken) ++taken;
  EXPECT_EQ(taken, 2);
}

TEST(CallLimitTest, LessThanOneASecondStillAllowsOne) {
  CallLimit limit({.rate = 0.25, .concurrent = 0});
  EXPECT_EQ(limit.Take(absl::ZeroDuration()).answer, Answer::kTaken);
  EXPECT_EQ(limit.Take(absl::ZeroDuration()).retry_after, absl::Seconds(4));
}

TEST(CallLimitTest, AsManyRunAsMayAndAPlaceComesBack) {
  CallLimit limit({.rate = 0, .concurrent = 1});
  EXPECT_EQ(limit.Take(absl::ZeroDuration()).answer, Answer::kTaken);
  EXPECT_EQ(limit.Take(absl::ZeroDuration()).answer, Answer::kTooMany);
  limit.Release();
  EXPECT_EQ(limit.Take(absl::ZeroDuration()).answer, Answer::kTaken);
  // What runs counts when the limit is another one.
  limit.Set({.rate = 0, .concurrent = 2});
  EXPECT_EQ(limit.Take(absl::ZeroDuration()).answer, Answer::kTaken);
  EXPECT_EQ(limit.Take(absl::ZeroDuration()).answer, Answer::kTooMany);
}

}  // namespace
}  // namespace convd
