#include "core/exec/memory_budget.h"

#include <limits>
#include <vector>

#include "absl/strings/numbers.h"
#include "core/exec/cgroup.h"

namespace convd {
namespace {

// Version 2's memory.max, "max" for none, or version 1's memory.limit_in_bytes, about 2^63 for
// none: RAM is less. 0 for none.
int64_t ReadLimit(FileSystem& fs, const std::string& path) {
  const std::vector<std::string> fields = ReadFields(fs, path);
  int64_t bytes = 0;
  if (fields.size() != 1 || !absl::SimpleAtoi(fields[0], &bytes) || bytes < 0) return 0;
  constexpr int64_t kNone = int64_t{1} << 62;
  return bytes < kNone ? bytes : 0;
}

// A line of /proc/meminfo: "MemTotal:       16384000 kB".
int64_t ReadRam(FileSystem& fs, const std::string& root) {
  const std::vector<std::string> fields = ReadFields(fs, root + "/proc/meminfo");
  for (size_t i = 0; i + 2 < fields.size(); ++i) {
    int64_t kilobytes = 0;
    if (fields[i] != "MemTotal:" || fields[i + 2] != "kB") continue;
    if (!absl::SimpleAtoi(fields[i + 1], &kilobytes) || kilobytes < 0 ||
        kilobytes > std::numeric_limits<int64_t>::max() / 1024) {
      return 0;
    }
    return kilobytes * 1024;
  }
  return 0;
}

}  // namespace

MemoryBudget DetectMemoryBudget(FileSystem& fs, const std::string& root) {
  const auto smaller = [](int64_t a, int64_t b) { return a == 0 || (b > 0 && b < a) ? b : a; };
  MemoryBudget budget;
  const CgroupFolders folders = FindCgroupFolders(fs, root, "memory");
  for (const std::string& folder : folders.v1) {
    budget.cgroup_limit =
        smaller(budget.cgroup_limit, ReadLimit(fs, folder + "/memory.limit_in_bytes"));
  }
  for (const std::string& folder : folders.v2) {
    budget.cgroup_limit = smaller(budget.cgroup_limit, ReadLimit(fs, folder + "/memory.max"));
  }
  budget.ram = ReadRam(fs, root);
  budget.bytes = smaller(budget.cgroup_limit, budget.ram);
  return budget;
}

}  // namespace convd
