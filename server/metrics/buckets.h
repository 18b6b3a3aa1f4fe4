#ifndef CONVD_SERVER_METRICS_BUCKETS_H_
#define CONVD_SERVER_METRICS_BUCKETS_H_

#include <vector>

namespace convd {

// Upper bounds of histograms of time: a small network's prediction takes a tenth of a millisecond,
// and a call that loads a model seconds.
inline std::vector<double> SecondsBuckets() {
  return {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
          0.05,   0.1,     0.25,   0.5,   1,      2.5,   10};
}

}  // namespace convd

#endif  // CONVD_SERVER_METRICS_BUCKETS_H_
