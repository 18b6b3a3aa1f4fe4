#include "client/load/arrivals.h"

#include <gmock/gmock.h>

#include <cmath>

namespace convd {
namespace {

TEST(ArrivalsTest, AConstantRateIsEvenlySpacedAndDoesNotDrift) {
  Arrivals arrivals(200, ArrivalKind::kConstant, 1);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(arrivals.Next(), i * absl::Milliseconds(5));
  Arrivals thirds(3, ArrivalKind::kConstant, 1);
  for (int i = 0; i < 3'000'000; ++i) thirds.Next();
  EXPECT_EQ(thirds.Next(), absl::Seconds(1'000'000));
}

TEST(ArrivalsTest, PoissonGapsAreExponential) {
  Arrivals arrivals(1000, ArrivalKind::kPoisson, 1);
  constexpr int kCount = 100000;
  absl::Duration last;
  int longer = 0;
  double squares = 0;
  for (int i = 0; i < kCount; ++i) {
    const absl::Duration next = arrivals.Next();
    ASSERT_GT(next, last);
    longer += next - last > absl::Milliseconds(1);
    squares += std::pow(absl::ToDoubleMilliseconds(next - last), 2);
    last = next;
  }
  // Of an exponential distribution of mean 1: standard deviation 1, second moment 2 and its
  // standard deviation √20, share above the mean 1/e. Four standard errors each.
  EXPECT_NEAR(absl::ToDoubleMilliseconds(last) / kCount, 1, 4 / std::sqrt(kCount));
  EXPECT_NEAR(squares / kCount, 2, 4 * std::sqrt(20.0 / kCount));
  EXPECT_NEAR(1.0 * longer / kCount, std::exp(-1), 4 * std::sqrt(0.2325 / kCount));
}

TEST(ArrivalsTest, TheSeedDecides) {
  Arrivals a(10, ArrivalKind::kPoisson, 5), same(10, ArrivalKind::kPoisson, 5),
      other(10, ArrivalKind::kPoisson, uint64_t{5} << 32);
  const absl::Duration first = a.Next();
  EXPECT_EQ(first, same.Next());
  EXPECT_NE(first, other.Next());
}

}  // namespace
}  // namespace convd
