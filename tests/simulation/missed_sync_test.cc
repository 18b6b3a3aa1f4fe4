#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/simulation/jobs_simulation.h"

namespace convd {
namespace {

// What a sync makes durable, whichever job, version or number it is of; "" for other operations.
std::string SyncSite(const SimulatedDisk::Operation& operation) {
  using Kind = SimulatedDisk::Operation::Kind;
  if (operation.kind != Kind::kSync && operation.kind != Kind::kSyncDirectory) return "";
  std::string site = operation.kind == Kind::kSync ? "file" : "folder";
  for (const absl::string_view part : absl::StrSplit(operation.path, '/')) {
    // Names of models have letters, and so have files; jobs and temporaries have numbers.
    const size_t number = part.find_first_of("0123456789");
    absl::StrAppend(&site, "/", part.substr(0, std::min(number, part.size())));
  }
  return site;
}

// The simulation sees it when any one sync is left out.
TEST(MissedSyncTest, TheSimulationSeesWhenAnyOneIsLeftOut) {
  std::map<std::string, int64_t> sites;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SimulationOptions options;
    options.seed = seed;
    options.on_operation = [&](const SimulatedDisk::Operation& operation) {
      if (const std::string site = SyncSite(operation); !site.empty()) ++sites[site];
    };
    SimulateJobs(options);
  }
  EXPECT_GE(sites.size(), 14u);
  for (const auto& [site, count] : sites) {
    bool missed = false;
    uint64_t seed = 1;
    for (; seed <= 3000 && !missed; ++seed) {
      SimulationOptions options;
      options.seed = seed;
      options.ignore_sync = [&](const SimulatedDisk::Operation& operation) {
        return SyncSite(operation) == site;
      };
      missed = !SimulateJobs(options).faults.empty();
    }
    EXPECT_TRUE(missed) << site << ", of which there were " << count;
    std::printf("%s (%ld): seed %ld\n", site.c_str(), static_cast<long>(count),
                static_cast<long>(seed - 1));
  }
}

}  // namespace
}  // namespace convd
