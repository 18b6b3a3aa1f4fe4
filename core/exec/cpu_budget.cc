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

CpuQuota QuotaOf(int64_t quota, int64_t period) {
  if (quota <= 0 || period <= 0) return {};
  return {.cores = static_cast<double>(quota) / static_cast<double>(period),
          .period = absl::Microseconds(period)};
}

// Version 2's cpu.max: "max 100000" or "150000 100000".
CpuQuota ReadCpuMax(FileSystem& fs, const std::string& folder) {
  const std::vector<std::string> fields = ReadFields(fs, folder + "/cpu.max");
  int64_t quota = 0;
  int64_t period = 100000;  // the kernel's default
  if (fields.empty() || fields.size() > 2 || !absl::SimpleAtoi(fields[0], &quota)) return {};
  if (fields.size() == 2 && !absl::SimpleAtoi(fields[1], &period)) return {};
  return QuotaOf(quota, period);
}

// Version 1's two files, where a quota of -1 is none.
CpuQuota ReadCfsQuota(FileSystem& fs, const std::string& folder) {
  const std::vector<std::string> quota_text = ReadFields(fs, folder + "/cpu.cfs_quota_us");
  const std::vector<std::string> period_text = ReadFields(fs, folder + "/cpu.cfs_period_us");
  int64_t quota = 0;
  int64_t period = 0;
  if (quota_text.size() != 1 || !absl::SimpleAtoi(quota_text[0], &quota)) return {};
  if (period_text.size() != 1 || !absl::SimpleAtoi(period_text[0], &period)) return {};
  return QuotaOf(quota, period);
}

CpuQuota SmallestQuota(FileSystem& fs, const std::string& root) {
  const CgroupFolders folders = FindCgroupFolders(fs, root, "cpu");
  CpuQuota smallest;
  const auto limit = [&smallest](const CpuQuota& quota) {
    if (quota.cores > 0 && (smallest.cores == 0 || quota.cores < smallest.cores)) smallest = quota;
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
  const CpuQuota quota = SmallestQuota(fs, root);
  budget.cgroup_quota = quota.cores;
  budget.cgroup_period = quota.period;
  double cores = budget.physical_cores;
  if (budget.cgroup_quota > 0) cores = std::min(cores, budget.cgroup_quota);
  budget.workers = std::max(1, static_cast<int>(cores));
  return budget;
}

CpuQuota QuotaToPaceBy(const CpuBudget& budget, int workers) {
  if (budget.cgroup_quota <= 0 || budget.cgroup_quota >= budget.affinity ||
      budget.cgroup_quota >= workers + 1) {
    return {};
  }
  return {.cores = budget.cgroup_quota, .period = budget.cgroup_period};
}

std::optional<CpuThrottling> ReadCpuThrottling(FileSystem& fs, const std::string& root) {
  const CgroupFolders folders = FindCgroupFolders(fs, root, "cpu");
  std::optional<CpuThrottling> most;
  for (const auto* group : {&folders.v1, &folders.v2}) {
    for (const std::string& folder : *group) {
      // Names and values in turn. Version 1 tells nanoseconds, version 2 microseconds.
      const std::vector<std::string> fields = ReadFields(fs, folder + "/cpu.stat");
      CpuThrottling found;
      bool told = false;
      for (size_t i = 0; i + 1 < fields.size(); i += 2) {
        int64_t value = 0;
        if (!absl::SimpleAtoi(fields[i + 1], &value) || value < 0) continue;
        if (fields[i] == "nr_throttled") {
          found.periods = value;
          told = true;
        } else if (fields[i] == "throttled_time") {
          found.time = absl::Nanoseconds(value);
        } else if (fields[i] == "throttled_usec") {
          found.time = absl::Microseconds(value);
        }
      }
      if (told && (!most.has_value() || found.time > most->time)) most = found;
    }
  }
  return most;
}

}  // namespace convd
