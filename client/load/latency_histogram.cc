#include "client/load/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace convd {
namespace {

constexpr int kPartBits = 7;  // 128 parts a power of two
constexpr int kLargestBits = 42;
constexpr uint64_t kLargest = (uint64_t{1} << kLargestBits) - 1;  // ns

// Up to 255 ns each has a bucket of its own. From there on a value keeps its top eight bits, and
// which of the 128 numbers with the top bit set they are is the part.
size_t BucketOf(uint64_t nanoseconds) {
  const int dropped = std::max(0, static_cast<int>(std::bit_width(nanoseconds)) - kPartBits - 1);
  return (static_cast<size_t>(dropped) << kPartBits) + (nanoseconds >> dropped);
}

constexpr size_t kBuckets = (size_t{kLargestBits - kPartBits - 1} << kPartBits) + (2 << kPartBits);

double MiddleOf(size_t bucket) {
  const int dropped = std::max(0, static_cast<int>(bucket >> kPartBits) - 1);
  const uint64_t top = bucket - (static_cast<size_t>(dropped) << kPartBits);
  // The values of a bucket are whole, from top << dropped on.
  return std::ldexp(static_cast<double>(top), dropped) + (std::ldexp(1.0, dropped) - 1) / 2;
}

}  // namespace

LatencyHistogram::LatencyHistogram() : counts_(kBuckets) {}

void LatencyHistogram::Add(absl::Duration latency) {
  latency = std::max(latency, absl::ZeroDuration());
  const uint64_t nanoseconds = static_cast<uint64_t>(absl::ToInt64Nanoseconds(latency));
  ++counts_[BucketOf(std::min(nanoseconds, kLargest))];
  ++count_;
  longest_ = std::max(longest_, latency);
}

void LatencyHistogram::Merge(const LatencyHistogram& other) {
  for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  longest_ = std::max(longest_, other.longest_);
}

absl::Duration LatencyHistogram::Quantile(double q) const {
  if (count_ == 0) return absl::ZeroDuration();
  const double rank = std::ceil(std::clamp(q, 0.0, 1.0) * static_cast<double>(count_));
  const int64_t wanted = std::clamp(static_cast<int64_t>(rank), int64_t{1}, count_);
  if (wanted == count_) return longest_;
  int64_t below = 0;
  size_t bucket = 0;
  while (below + counts_[bucket] < wanted) below += counts_[bucket++];
  return std::min(absl::Nanoseconds(MiddleOf(bucket)), longest_);
}

}  // namespace convd
