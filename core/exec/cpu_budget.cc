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
#include "absl/strings/strip.h"

namespace convd {
namespace {

// A node of a Kubernetes cluster has thousands of mounts of some 200 bytes; the others are a line.
constexpr int64_t kMaxMountInfoBytes = 16 << 20;
constexpr int64_t kMaxFileBytes = 1 << 16;
// Linux's own limit is 8,192.
constexpr int kMaxCpus = 1 << 16;

std::string ReadOrEmpty(FileSystem& fs, const std::string& path, int64_t limit = kMaxFileBytes) {
  absl::StatusOr<std::string> text = fs.Read(path, limit);
  return text.ok() ? *std::move(text) : std::string();
}

std::vector<std::string> Fields(absl::string_view line) {
  return absl::StrSplit(line, absl::ByAnyChar(" \t\n"), absl::SkipEmpty());
}

bool HasItem(absl::string_view comma_separated, absl::string_view item) {
  for (absl::string_view other : absl::StrSplit(comma_separated, ',')) {
    if (other == item) return true;
  }
  return false;
}

// mountinfo writes blanks and backslashes as \ooo.
std::string Unescape(absl::string_view text) {
  const auto is_octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && is_octal(text[i + 1]) && is_octal(text[i + 2]) &&
        is_octal(text[i + 3])) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                 (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// A place where a hierarchy of cgroups can be read: `root` is the cgroup that shows at `point`.
struct Mount {
  std::string root;
  std::string point;
};

struct Hierarchies {
  std::vector<Mount> v1_cpu;
  std::vector<Mount> v2;
};

// A line: ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG...] - TYPE SOURCE SUPEROPTIONS
Hierarchies FindMounts(const std::string& mountinfo) {
  Hierarchies found;
  for (absl::string_view line : absl::StrSplit(mountinfo, '\n')) {
    const std::vector<std::string> fields = Fields(line);
    const auto dash = std::find(fields.begin(), fields.end(), "-");
    if (dash - fields.begin() < 6 || fields.end() - dash < 3) continue;
    const std::string& type = dash[1];
    Mount mount{Unescape(fields[3]), Unescape(fields[4])};
    if (type == "cgroup2") {
      found.v2.push_back(std::move(mount));
    } else if (type == "cgroup" && HasItem(fields.back(), "cpu")) {
      found.v1_cpu.push_back(std::move(mount));
    }
  }
  return found;
}

// Where the cgroup files lie on every distribution since 2013, for sandboxes that hide mountinfo.
Hierarchies ConventionalMounts() {
  return {{{"/", "/sys/fs/cgroup/cpu"}, {"/", "/sys/fs/cgroup/cpu,cpuacct"}},
          {{"/", "/sys/fs/cgroup"}, {"/", "/sys/fs/cgroup/unified"}}};
}

// This process's cgroup in the hierarchy of the cpu controller; "/" where it isn't told.
struct OwnCgroups {
  std::string v1_cpu = "/";
  std::string v2 = "/";
};

// A line: HIERARCHY:CONTROLLER,...:PATH, where version 2 is hierarchy 0 with no controller.
OwnCgroups ParseOwnCgroups(const std::string& text) {
  OwnCgroups own;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3 || parts[2].empty() || parts[2][0] != '/') continue;
    if (parts[0] == "0" && parts[1].empty()) {
      own.v2 = parts[2];
    } else if (HasItem(parts[1], "cpu")) {
      own.v1_cpu = parts[2];
    }
  }
  return own;
}

// `cgroup` below `mount`'s root: "" for the root itself, else "/a/b". False where it isn't below
// it.
bool BelowRoot(const Mount& mount, const std::string& cgroup, std::string* below) {
  const std::string root = mount.root == "/" ? "" : mount.root;
  if (cgroup.compare(0, root.size(), root) != 0) return false;
  std::string rest = cgroup.substr(root.size());
  if (rest == "/") rest.clear();
  if (!rest.empty() && rest[0] != '/') return false;
  // A process outside its cgroup namespace shows as /../..; those folders can't be reached here.
  for (absl::string_view part : absl::StrSplit(rest, '/')) {
    if (part == "..") return false;
  }
  *below = std::move(rest);
  return true;
}

// The folders of a process's cgroup and of its ancestors, as far as they show. Inside a container
// the path may be one of the host's while only the container's own cgroup is mounted: then that is
// all there is to read.
std::vector<std::string> CgroupFolders(const std::vector<Mount>& mounts,
                                       const std::string& cgroup) {
  std::vector<std::string> folders;
  for (const Mount& mount : mounts) {
    std::string below;
    if (!BelowRoot(mount, cgroup, &below)) continue;
    while (!below.empty()) {
      folders.push_back(mount.point + below);
      below.resize(below.rfind('/'));
    }
    folders.push_back(mount.point);
  }
  if (folders.empty()) {
    for (const Mount& mount : mounts) folders.push_back(mount.point);
  }
  return folders;
}

// Cores in version 2's cpu.max: "max 100000" or "150000 100000"; 0 for none.
double ReadCpuMax(FileSystem& fs, const std::string& folder) {
  const std::vector<std::string> fields = Fields(ReadOrEmpty(fs, folder + "/cpu.max"));
  int64_t quota = 0;
  int64_t period = 100000;  // the kernel's default
  if (fields.empty() || fields.size() > 2 || !absl::SimpleAtoi(fields[0], &quota)) return 0;
  if (fields.size() == 2 && !absl::SimpleAtoi(fields[1], &period)) return 0;
  return quota > 0 && period > 0 ? static_cast<double>(quota) / static_cast<double>(period) : 0;
}

// Cores in version 1's two files, where a quota of -1 is none; 0 for none.
double ReadCfsQuota(FileSystem& fs, const std::string& folder) {
  const std::vector<std::string> quota_text = Fields(ReadOrEmpty(fs, folder + "/cpu.cfs_quota_us"));
  const std::vector<std::string> period_text =
      Fields(ReadOrEmpty(fs, folder + "/cpu.cfs_period_us"));
  int64_t quota = 0;
  int64_t period = 0;
  if (quota_text.size() != 1 || !absl::SimpleAtoi(quota_text[0], &quota)) return 0;
  if (period_text.size() != 1 || !absl::SimpleAtoi(period_text[0], &period)) return 0;
  return quota > 0 && period > 0 ? static_cast<double>(quota) / static_cast<double>(period) : 0;
}

double SmallestQuota(FileSystem& fs, const std::string& root) {
  const std::string mountinfo = ReadOrEmpty(fs, root + "/proc/self/mountinfo", kMaxMountInfoBytes);
  const Hierarchies mounts = mountinfo.empty() ? ConventionalMounts() : FindMounts(mountinfo);
  const OwnCgroups own = ParseOwnCgroups(ReadOrEmpty(fs, root + "/proc/self/cgroup"));
  double smallest = 0;
  const auto limit = [&smallest](double quota) {
    if (quota > 0 && (smallest == 0 || quota < smallest)) smallest = quota;
  };
  for (const std::string& folder : CgroupFolders(mounts.v1_cpu, own.v1_cpu)) {
    limit(ReadCfsQuota(fs, root + folder));
  }
  for (const std::string& folder : CgroupFolders(mounts.v2, own.v2)) {
    limit(ReadCpuMax(fs, root + folder));
  }
  return smallest;
}

// The first CPU of a list like "0,4" or "0-1,8-9"; -1 where it is malformed or lacks `cpu`.
int FirstSibling(absl::string_view list, int cpu) {
  int first = kMaxCpus;
  bool has_cpu = false;
  for (absl::string_view range : absl::StrSplit(absl::StripAsciiWhitespace(list), ',')) {
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
    const int first =
        FirstSibling(ReadOrEmpty(fs, absl::StrCat(root, "/sys/devices/system/cpu/cpu", cpu,
                                                  "/topology/thread_siblings_list")),
                     cpu);
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
  budget.cgroup_quota = SmallestQuota(fs, root);
  double cores = budget.physical_cores;
  if (budget.cgroup_quota > 0) cores = std::min(cores, budget.cgroup_quota);
  budget.workers = std::max(1, static_cast<int>(cores));
  return budget;
}

}  // namespace convd
