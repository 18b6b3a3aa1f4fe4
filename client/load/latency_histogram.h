#ifndef CONVD_CLIENT_LOAD_LATENCY_HISTOGRAM_H_
#define CONVD_CLIENT_LOAD_LATENCY_HISTOGRAM_H_

#include <cstdint>
#include <vector>

#include "absl/time/time.h"

namespace convd {

// How often each latency occurred, as HdrHistogram keeps it: every power of two is cut into 128
// equal parts, so that a quantile is off by less than 0.4% and memory (34 KiB) doesn't depend on
// how many there are. From 1 ns to 73 minutes; what is longer counts as that long, but for
// `longest`. A plain value; one thread.
class LatencyHistogram {
 public:
  LatencyHistogram();

  void Add(absl::Duration latency);  // below zero counts as zero
  void Merge(const LatencyHistogram& other);

  int64_t count() const { return count_; }
  absl::Duration longest() const { return longest_; }  // exactly; zero where there is none
  // The shortest latency that at least a share `q` (0 to 1) of all doesn't exceed: 0.5 is the
  // median. Zero where there is none.
  absl::Duration Quantile(double q) const;

 private:
  std::vector<int64_t> counts_;
  int64_t count_ = 0;
  absl::Duration longest_;
};

}  // namespace convd

#endif  // CONVD_CLIENT_LOAD_LATENCY_HISTOGRAM_H_
