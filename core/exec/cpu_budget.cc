#include "core/exec/cpu_budget.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "core/exec/cgroup.h"

namespace convd {
namespace {

// Linux's own limit is 8,192.
constexpr int kMaxCpus = 1 << 16;

// So many microseconds of CPU time in each period; a quota of 0 is none.
struct Quota {
  int64_t quota = 0;
  int64_t period = 100000;  // the kernel's default
  double cores() const { return static_cast<double>(quota) / static_cast<double>(period); }
};

// Of version 2's cpu.max: "max 100000" or "150000 100000".
Quota ReadCpuMax(FileSystem& fs, const std::string& folder) {
  const std::vector<std::string> fields = ReadFields(fs, folder + "/cpu.max");
  Quota read;
  if (fields.empty() || fields.size() > 2 || !absl::SimpleAtoi(fields[0], &read.quota)) return {};
  if (fields.size() == 2 && !absl::SimpleAtoi(fields[1], &read.period)) return {};
  return read;
}

// Of version 1's two files, where a quota of -1 is none.
Quota ReadCfsQuota(FileSystem& fs, const std::string& folder) {
  const std::vector<std::string> quota = ReadFields(fs, folder + "/cpu.cfs_quota_us");
  const std::vector<std::string> period = ReadFields(fs, folder + "/cpu.cfs_period_us");
  Quota read;
  if (quota.size() != 1 || !absl::SimpleAtoi(quota[0], &read.quota)) return {};
  if (period.size() != 1 || !absl::SimpleAtoi(period[0], &read.period)) return {};
  return read;
}

Quota SmallestQuota(FileSystem& fs, const std::string& root) {
  const CgroupFolders folders = FindCgroupFolders(fs, root, "cpu");
  Quota smallest;
  const auto limit = [&smallest](const Quota& read) {
    if (read.quota <= 0 || read.period <= 0) return;
    if (smallest.quota == 0 || read.cores() < smallest.cores()) smallest = read;
  };
  for (const std::string& folder : folders.v1) limit(ReadCfsQuota(fs, folder));
  for (const std::string& folder : folders.v2) limit(ReadCpuMax(fs, folder));
  return smallest;
}

// The first CPU of a list like "0,4" or "0-1,8-9"; -1 where it is malformed or lacks `cpu`.
int FirstSibling(absl::string_view list, int cpu) {
  int first = kMaxCpus;
  bool has_cpu = false;
  for (absl::string_view range : absl::StrSplit(list, ',')) {
    const std::vector<absl::string_view> ends = absl::StrSplit(range, '-');
    int low = 0;
    int high = 0;
    if (ends.size() > 2 || !absl::SimpleAtoi(ends.front(), &low) ||
        !absl::SimpleAtoi(ends.back(), &high) || low < 0 || high < low || high >= kMaxCpus) {
      return -1;
    }
    first = std::min(first, low);
    has_cpu = has_cpu || (low <= cpu && cpu <= high);
  }
  return has_cpu ? first : -1;
}

int CountPhysicalCores(FileSystem& fs, const std::string& root, const std::set<int>& cpus) {
  std::set<int> cores;
  for (int cpu : cpus) {
    const std::vector<std::string> siblings = ReadFields(
        fs,
        absl::StrCat(root, "/sys/devices/system/cpu/cpu", cpu, "/topology/thread_siblings_list"));
    const int first = siblings.size() == 1 ? FirstSibling(siblings[0], cpu) : -1;
    cores.insert(first >= 0 ? first : cpu);
  }
  return static_cast<int>(cores.size());
}

std::vector<int> AllowedCpus() {
  struct Free {
    void operator()(cpu_set_t* set) const { CPU_FREE(set); }
  };
  std::vector<int> cpus;
  // The kernel refuses a mask smaller than its own with EINVAL.
  for (int size = 1024; size <= kMaxCpus; size *= 2) {
    std::unique_ptr<cpu_set_t, Free> set(CPU_ALLOC(size));
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(size);
    CPU_ZERO_S(bytes, set.get());
    if (sched_getaffinity(0, bytes, set.get()) != 0) {
      if (errno == EINVAL) continue;
      break;
    }
    for (int cpu = 0; cpu < size; ++cpu) {
      if (CPU_ISSET_S(cpu, bytes, set.get())) cpus.push_back(cpu);
    }
    return cpus;
  }
  const int online = static_cast<int>(std::clamp<long>(sysconf(_SC_NPROCESSORS_ONLN), 1, kMaxCpus));
  for (int cpu = 0; cpu < online; ++cpu) cpus.push_back(cpu);
  return cpus;
}

}  // namespace

CpuBudget DetectCpuBudget(FileSystem& fs, const std::string& root) {
  return DetectCpuBudget(fs, root, AllowedCpus());
}

CpuBudget DetectCpuBudget(FileSystem& fs, const std::string& root,
                          const std::vector<int>& allowed_cpus) {
  const std::set<int> cpus(allowed_cpus.begin(), allowed_cpus.end());
  CpuBudget budget;
  budget.affinity = static_cast<int>(cpus.size());
  budget.physical_cores = CountPhysicalCores(fs, root, cpus);
  if (const Quota smallest = SmallestQuota(fs, root); smallest.quota > 0) {
    budget.cgroup_quota = smallest.cores();
    budget.cgroup_period = absl::Microseconds(smallest.period);
  }
  double cores = budget.physical_cores;
  if (budget.cgroup_quota > 0) cores = std::min(cores, budget.cgroup_quota);
  budget.workers = std::max(1, static_cast<int>(cores));
  return budget;
}

std::optional<absl::Duration> ReadThrottledTime(FileSystem& fs, const std::string& root) {
  const CgroupFolders folders = FindCgroupFolders(fs, root, "cpu");
  std::optional<absl::Duration> throttled;
  // A group's own counts are what its own quota did; the tightest may be a parent's.
  const auto read = [&](const std::string& folder, absl::string_view name, absl::Duration unit) {
    const std::vector<std::string> fields = ReadFields(fs, folder + "/cpu.stat");
    for (size_t i = 0; i + 1 < fields.size(); i += 2) {
      int64_t count = 0;
      if (fields[i] == name && absl::SimpleAtoi(fields[i + 1], &count) && count >= 0) {
        throttled = throttled.value_or(absl::ZeroDuration()) + count * unit;
      }
    }
  };
  for (const std::string& folder : folders.v1) read(folder, "throttled_time", absl::Nanoseconds(1));
  for (const std::string& folder : folders.v2) {
    read(folder, "throttled_usec", absl::Microseconds(1));
  }
  return throttled;
}

}  // namespace convd
