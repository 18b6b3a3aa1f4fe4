#ifndef CONVD_CORE_EXEC_CPU_BUDGET_H_
#define CONVD_CORE_EXEC_CPU_BUDGET_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "core/exec/pace.h"
#include "core/storage/file_system.h"

namespace convd {

// How many workers this process may use, and why; for the log.
struct CpuBudget {
  int workers = 1;
  double cgroup_quota = 0;                                 // cores; 0 where there is none
  absl::Duration cgroup_period = absl::Milliseconds(100);  // in which the kernel counts them
  int affinity = 0;        // logical CPUs that the scheduler allows (cpusets are part of it)
  int physical_cores = 0;  // of those, counting hyper-threads once
};

// workers = max(1, floor(min(cgroup v1 or v2 quota, cpuset, affinity))), in physical cores. Reads
// /proc/self/cgroup, the cgroup files of this process and of its parents, and
// /sys/devices/system/cpu under `root` ("" is the machine's own). Unreadable or malformed files
// count as no limit. Any thread may call.
CpuBudget DetectCpuBudget(FileSystem& fs, const std::string& root = "");

// The same for a scheduler that allows `allowed_cpus` (numbers of logical CPUs).
CpuBudget DetectCpuBudget(FileSystem& fs, const std::string& root,
                          const std::vector<int>& allowed_cpus);

// What training is to be paced by where it runs on `workers`: the quota where the process could use
// it up, else none. A thread more than workers counts, for what isn't theirs.
CpuQuota QuotaToPaceBy(const CpuBudget& budget, int workers);

// How often, and for how long together, the kernel has held this process's cgroup, or the one above
// it that it held most, because a quota was used up.
struct CpuThrottling {
  int64_t periods = 0;
  absl::Duration time;
};

// Nothing where no cgroup tells. Reads under `root`, as DetectCpuBudget does. Any thread may call.
std::optional<CpuThrottling> ReadCpuThrottling(FileSystem& fs, const std::string& root = "");

}  // namespace convd

#endif  // CONVD_CORE_EXEC_CPU_BUDGET_H_
