#include "core/exec/memory_budget.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "tests/core/exec/fake_files.h"

namespace convd {
namespace {

constexpr char kV2MountInfo[] =
    "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
    "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

constexpr char kV1MountInfo[] =
    "34 30 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:16 - cgroup cgroup rw,cpu,cpuacct\n"
    "35 30 0:31 / /sys/fs/cgroup/memory rw shared:17 - cgroup cgroup rw,memory\n";

constexpr char kMemInfo[] =
    "MemTotal:       16000000 kB\n"
    "MemFree:         1000000 kB\n";

MemoryBudget Of(Files files) {
  FakeFiles fs(std::move(files));
  return DetectMemoryBudget(fs);
}

TEST(MemoryBudget, IsTheRamWhereNothingLimitsIt) {
  const MemoryBudget budget = Of({{"/proc/meminfo", kMemInfo}});
  EXPECT_EQ(budget.bytes, 16384000000);
  EXPECT_EQ(budget.ram, 16384000000);
  EXPECT_EQ(budget.cgroup_limit, 0);
}

TEST(MemoryBudget, IsTheSmallestVersion2LimitAmongTheCgroupAndItsAncestors) {
  const Files files = {{"/proc/meminfo", kMemInfo},
                       {"/proc/self/mountinfo", kV2MountInfo},
                       {"/proc/self/cgroup", "0::/system.slice/convd.service\n"},
                       {"/sys/fs/cgroup/system.slice/memory.max", "2000000000\n"},
                       {"/sys/fs/cgroup/system.slice/convd.service/memory.max", "3000000000\n"}};
  EXPECT_EQ(Of(files).cgroup_limit, 2000000000);
  EXPECT_EQ(Of(files).bytes, 2000000000);
}

TEST(MemoryBudget, ReadsVersion1OfTheMemoryHierarchyAndNotOfTheCpus) {
  Files files = {{"/proc/meminfo", kMemInfo},
                 {"/proc/self/mountinfo", kV1MountInfo},
                 {"/proc/self/cgroup", "5:memory:/docker/a\n4:cpu,cpuacct:/docker/b\n"},
                 {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"},
                 {"/sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes", "536870912\n"},
                 {"/sys/fs/cgroup/memory/docker/b/memory.limit_in_bytes", "1\n"}};
  EXPECT_EQ(Of(files).bytes, 536870912);
  files["/sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes"] = "9223372036854771712\n";
  EXPECT_EQ(Of(files).cgroup_limit, 0);
  EXPECT_EQ(Of(files).bytes, 16384000000);
}

TEST(MemoryBudget, IsTheRamWhereTheLimitIsMoreOrNone) {
  Files files = {{"/proc/meminfo", kMemInfo},
                 {"/proc/self/mountinfo", kV2MountInfo},
                 {"/proc/self/cgroup", "0::/\n"},
                 {"/sys/fs/cgroup/memory.max", "999999999999\n"}};
  EXPECT_EQ(Of(files).bytes, 16384000000);
  for (const char* none : {"max\n", "", "-1\n", "12 34\n", "99999999999999999999\n"}) {
    files["/sys/fs/cgroup/memory.max"] = none;
    EXPECT_EQ(Of(files).cgroup_limit, 0) << none;
  }
}

TEST(MemoryBudget, IsUnknownWhereNothingCanBeRead) {
  EXPECT_EQ(Of({}).bytes, 0);
  for (const char* malformed : {"", "MemTotal:", "MemTotal: x kB\n", "MemTotal: -4 kB\n",
                                "MemTotal: 9223372036854775807 kB\n"}) {
    EXPECT_EQ(Of({{"/proc/meminfo", malformed}}).bytes, 0) << malformed;
  }
}

TEST(MemoryBudget, OfThisMachineIsKnown) {
  EXPECT_GT(DetectMemoryBudget(FileSystem::Posix()).bytes, 1 << 20);
}

}  // namespace
}  // namespace convd
