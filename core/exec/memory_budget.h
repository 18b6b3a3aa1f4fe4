#ifndef CONVD_CORE_EXEC_MEMORY_BUDGET_H_
#define CONVD_CORE_EXEC_MEMORY_BUDGET_H_

#include <cstdint>
#include <string>

#include "core/storage/file_system.h"

namespace convd {

// How many bytes of memory this process may use, and why; for the log.
struct MemoryBudget {
  int64_t bytes = 0;         // the smaller of the two; 0 where neither is known
  int64_t cgroup_limit = 0;  // 0 where there is none
  int64_t ram = 0;           // 0 where it isn't told
};

// bytes = min(cgroup v1 or v2 limit of this process's cgroups and of their ancestors, RAM), as they
// are now. Reads the cgroup files and /proc/meminfo under `root` ("" is the machine's own).
// Unreadable or malformed files count as no limit. Any thread may call.
MemoryBudget DetectMemoryBudget(FileSystem& fs, const std::string& root = "");

}  // namespace convd

#endif  // CONVD_CORE_EXEC_MEMORY_BUDGET_H_
