#ifndef CONVD_TESTS_CRASH_CRASH_RUN_H_
#define CONVD_TESTS_CRASH_CRASH_RUN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace convd {

struct CrashOptions {
  int64_t kills = 1;
  uint64_t seed = 1;
  std::string folder;  // for all that the run writes; there, and empty
  // No further life begins after so long; what was begun is still finished and compared.
  absl::Duration limit = absl::Minutes(10);
};

struct CrashReport {
  int64_t kills = 0;
  std::string summary;
  std::vector<std::string> faults;
};

// Lets a server train small jobs, kills it over and over, and compares each next life with what the
// ones before had said. Fails the test where it can't even begin.
CrashReport RunCrashes(const CrashOptions& options);

}  // namespace convd

#endif  // CONVD_TESTS_CRASH_CRASH_RUN_H_
