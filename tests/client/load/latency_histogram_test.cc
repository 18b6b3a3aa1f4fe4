#include "client/load/latency_histogram.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace convd {
namespace {

TEST(LatencyHistogramTest, QuantilesAreWithinHalfAPercentOfTheSortedSamples) {
  // From 10 ns to 100 s, each power of ten as often as the others.
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> exponent(1, 11);
  LatencyHistogram histogram;
  std::vector<int64_t> samples;
  for (int i = 0; i < 20001; ++i) {
    samples.push_back(std::llround(std::pow(10, exponent(random))));
    histogram.Add(absl::Nanoseconds(samples.back()));
  }
  std::sort(samples.begin(), samples.end());
  EXPECT_EQ(histogram.count(), 20001);
  for (const double q : {0.0, 0.0001, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999}) {
    const size_t rank = std::max(1.0, std::ceil(q * 20001));
    const double exact = static_cast<double>(samples[rank - 1]);
    EXPECT_NEAR(absl::ToDoubleNanoseconds(histogram.Quantile(q)), exact, 0.005 * exact) << q;
  }
  EXPECT_EQ(histogram.Quantile(1), absl::Nanoseconds(samples.back()));
  EXPECT_EQ(histogram.longest(), absl::Nanoseconds(samples.back()));
}

TEST(LatencyHistogramTest, ShortLatenciesAreExact) {
  LatencyHistogram histogram;
  for (int i = 0; i <= 255; ++i) histogram.Add(absl::Nanoseconds(i));
  // The 128th of 256.
  EXPECT_EQ(histogram.Quantile(0.5), absl::Nanoseconds(127));
}

TEST(LatencyHistogramTest, EmptyIsZero) {
  const LatencyHistogram histogram;
  EXPECT_EQ(histogram.count(), 0);
  EXPECT_EQ(histogram.Quantile(0.99), absl::ZeroDuration());
  EXPECT_EQ(histogram.longest(), absl::ZeroDuration());
}

TEST(LatencyHistogramTest, WhatIsOutOfItsRangeStillCounts) {
  LatencyHistogram histogram;
  histogram.Add(-absl::Seconds(1));
  histogram.Add(absl::Hours(300));
  histogram.Add(absl::InfiniteDuration());
  EXPECT_EQ(histogram.count(), 3);
  EXPECT_EQ(histogram.Quantile(0.1), absl::ZeroDuration());
  EXPECT_GT(histogram.Quantile(0.6), absl::Minutes(70));
  EXPECT_EQ(histogram.longest(), absl::InfiniteDuration());
}

}  // namespace
}  // namespace convd
