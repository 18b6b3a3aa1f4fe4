#ifndef CONVD_TESTS_SIMULATION_JOBS_SIMULATION_H_
#define CONVD_TESTS_SIMULATION_JOBS_SIMULATION_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tests/simulation/simulated_disk.h"

namespace convd {

// What happened in a run, so that a test can see that it tried what it is there for.
struct SimulationCounts {
  int64_t submitted = 0, succeeded = 0, cancelled = 0, failed = 0;
  int64_t power_cuts = 0, kills = 0, stops = 0, disk_faults = 0;
  int64_t resumed = 0;  // attempts that went on from a checkpoint
  int64_t operations = 0;

  void Add(const SimulationCounts& more);
  std::string Text() const;
};

struct SimulationOptions {
  uint64_t seed = 0;
  int64_t events = 60;  // before the last restart, after which everything runs to its end

  // In place of what the seed would have happen: a job of each kind is submitted, and they run one
  // after the other. Operation `fault_at` on the disk then fails with `fault`; at `cut_at` the
  // power goes, and `survival` says what is left. 0: neither.
  bool scripted = false;
  int64_t fault_at = 0;
  absl::Status fault;
  int64_t cut_at = 0;
  Survival survival = Survival::kBySeed;

  // Syncs that do nothing; see SimulatedDisk::OnOperation.
  std::function<bool(const SimulatedDisk::Operation&)> ignore_sync;
  // Sees every operation.
  std::function<void(const SimulatedDisk::Operation&)> on_operation;
};

struct SimulationResult {
  // What was promised and isn't so; empty where all held. Says when.
  std::vector<std::string> faults;
  SimulationCounts counts;
};

// Jobs, publishing, checkpoints and queue as shipped, on one thread, a simulated disk and a clock
// turned by hand. The seed says what clients ask for and when, and when the power goes, the process
// is killed or the disk fails. A ledger keeps what was acknowledged; after each restart, and at the
// end, everything is held against it.
SimulationResult SimulateJobs(const SimulationOptions& options);

}  // namespace convd

#endif  // CONVD_TESTS_SIMULATION_JOBS_SIMULATION_H_
