#ifndef CONVD_CLIENT_CONVCTL_BENCH_TEXT_H_
#define CONVD_CLIENT_CONVCTL_BENCH_TEXT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "client/load/load_run.h"

namespace convd {

// What `convctl bench` measured, one load after the other.
struct BenchReport {
  struct Load {
    LoadPlan plan;
    LoadResult result;
  };

  std::string protocol;
  std::string model;  // as it was asked for
  int64_t images_per_call = 1;
  int connections = 1;
  std::vector<Load> loads;
};

// All three say the same: rates by second, latencies in milliseconds, errors by code. Any thread
// may call.
std::string BenchTable(const BenchReport& report);  // with a heading, for people
std::string BenchCsv(const BenchReport& report);    // a line of names, then one a load
std::string BenchJson(const BenchReport& report);   // one document on one line

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_BENCH_TEXT_H_
