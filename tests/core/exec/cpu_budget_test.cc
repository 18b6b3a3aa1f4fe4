#include "core/exec/cpu_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/core/exec/fake_files.h"

namespace convd {
namespace {

using ::testing::Each;
using ::testing::StartsWith;

std::vector<int> Cpus(int count) {
  std::vector<int> cpus;
  for (int i = 0; i < count; ++i) cpus.push_back(i);
  return cpus;
}

// A machine of 16 CPUs without hyper-threads and these files.
CpuBudget On16Cpus(Files files) {
  FakeFiles fs(std::move(files));
  return DetectCpuBudget(fs, "", Cpus(16));
}

constexpr char kV2MountInfo[] =
    "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
    "24 22 0:22 / /proc rw,nosuid - proc proc rw\n"
    "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

constexpr char kV1MountInfo[] =
    "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
    "31 30 0:27 / /sys/fs/cgroup/systemd rw shared:10 - cgroup cgroup rw,xattr,name=systemd\n"
    "33 30 0:29 / /sys/fs/cgroup/cpuset rw shared:15 - cgroup cgroup rw,cpuset\n"
    "34 30 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:16 - cgroup cgroup rw,cpu,cpuacct\n";

TEST(DetectCpuBudget, WithoutCgroupsUsesEveryAllowedCpu) {
  const CpuBudget budget = On16Cpus({});
  EXPECT_EQ(budget.workers, 16);
  EXPECT_EQ(budget.affinity, 16);
  EXPECT_EQ(budget.physical_cores, 16);
  EXPECT_EQ(budget.cgroup_quota, 0);
}

TEST(DetectCpuBudget, ReadsVersion2OfAContainerWithItsOwnCgroupNamespace) {
  const CpuBudget budget = On16Cpus({{"/proc/self/cgroup", "0::/\n"},
                                     {"/proc/self/mountinfo", kV2MountInfo},
                                     {"/sys/fs/cgroup/cpu.max", "250000 100000\n"}});
  EXPECT_EQ(budget.cgroup_quota, 2.5);
  EXPECT_EQ(budget.workers, 2);
  EXPECT_EQ(budget.affinity, 16);
}

TEST(DetectCpuBudget, Version2SaysMaxForNoLimit) {
  const CpuBudget budget = On16Cpus({{"/proc/self/cgroup", "0::/\n"},
                                     {"/proc/self/mountinfo", kV2MountInfo},
                                     {"/sys/fs/cgroup/cpu.max", "max 100000\n"}});
  EXPECT_EQ(budget.cgroup_quota, 0);
  EXPECT_EQ(budget.workers, 16);
}

TEST(DetectCpuBudget, TheTightestAncestorCounts) {
  const std::string slice = "/sys/fs/cgroup/system.slice";
  Files files = {{"/proc/self/cgroup", "0::/system.slice/lab.slice/convd.service\n"},
                 {"/proc/self/mountinfo", kV2MountInfo},
                 {slice + "/cpu.max", "800000 100000\n"},
                 {slice + "/lab.slice/cpu.max", "300000 100000\n"},
                 {slice + "/lab.slice/convd.service/cpu.max", "600000 100000\n"},
                 {slice + "/neighbour.slice/cpu.max", "100000 100000\n"}};
  EXPECT_EQ(On16Cpus(files).workers, 3);
  files[slice + "/cpu.max"] = "200000 100000\n";
  EXPECT_EQ(On16Cpus(files).workers, 2);
  files[slice + "/lab.slice/convd.service/cpu.max"] = "100000 100000\n";
  EXPECT_EQ(On16Cpus(files).workers, 1);
}

TEST(DetectCpuBudget, ReadsVersion1WithCpuAndCpuacctTogether) {
  const std::string folder = "/sys/fs/cgroup/cpu,cpuacct";
  const CpuBudget budget =
      On16Cpus({{"/proc/self/cgroup",
                 "11:cpuset:/\n5:cpu,cpuacct:/system.slice/convd.service\n"
                 "1:name=systemd:/system.slice/convd.service\n"},
                {"/proc/self/mountinfo", kV1MountInfo},
                {folder + "/cpu.cfs_quota_us", "-1\n"},
                {folder + "/cpu.cfs_period_us", "100000\n"},
                {folder + "/system.slice/cpu.cfs_quota_us", "-1\n"},
                {folder + "/system.slice/cpu.cfs_period_us", "100000\n"},
                {folder + "/system.slice/convd.service/cpu.cfs_quota_us", "200000\n"},
                {folder + "/system.slice/convd.service/cpu.cfs_period_us", "50000\n"}});
  EXPECT_EQ(budget.cgroup_quota, 4);
  EXPECT_EQ(budget.workers, 4);
}

TEST(DetectCpuBudget, ReadsVersion1OfADockerContainerThatSeesTheHostsPath) {
  // Without a cgroup namespace the container's own cgroup is mounted, and the path is the host's.
  const CpuBudget budget = On16Cpus(
      {{"/proc/self/cgroup", "4:cpu,cpuacct:/docker/8f1c\n0::/system.slice/containerd.service\n"},
       {"/proc/self/mountinfo",
        "900 899 0:30 /docker/8f1c /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"},
       {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000\n"},
       {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"}});
  EXPECT_EQ(budget.cgroup_quota, 1.5);
  EXPECT_EQ(budget.workers, 1);
}

TEST(DetectCpuBudget, FallsBackToTheMountWhereThePathIsOutsideIt) {
  for (const char* path : {"/../../elsewhere", "/kubepods/pod7/other", "/docker/8f1cde"}) {
    const CpuBudget budget =
        On16Cpus({{"/proc/self/cgroup", absl::StrCat("0::", path, "\n")},
                  {"/proc/self/mountinfo",
                   "900 899 0:26 /docker/8f1c /sys/fs/cgroup ro - cgroup2 cgroup rw,nsdelegate\n"},
                  {"/sys/fs/cgroup/cpu.max", "300000 100000\n"}});
    EXPECT_EQ(budget.workers, 3) << path;
  }
}

TEST(DetectCpuBudget, ReadsBothVersionsOfAMixedMachine) {
  const std::string mountinfo =
      "31 30 0:28 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
      "33 30 0:30 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
      "40 30 0:37 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
  Files files = {{"/proc/self/cgroup", "9:name=systemd:/\n3:cpuset:/\n1:cpu:/box\n0::/\n"},
                 {"/proc/self/mountinfo", mountinfo},
                 {"/sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "700000\n"},
                 {"/sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000\n"}};
  EXPECT_EQ(On16Cpus(files).workers, 7);
  files["/sys/fs/cgroup/unified/cpu.max"] = "500000 100000\n";
  EXPECT_EQ(On16Cpus(files).workers, 5);
}

TEST(DetectCpuBudget, ReadsAPathWithBlanksColonsAndEscapes) {
  const CpuBudget budget = On16Cpus(
      {{"/proc/self/cgroup", "0::/a:b/c\n"},
       {"/proc/self/mountinfo", "30 22 0:26 / /mnt/c\\040group\\134s rw - cgroup2 cgroup2 rw\n"},
       {"/mnt/c group\\s/a:b/cpu.max", "200000 100000\n"}});
  EXPECT_EQ(budget.workers, 2);
}

TEST(DetectCpuBudget, LooksAtTheConventionalPlacesWhereMountinfoIsHidden) {
  EXPECT_EQ(On16Cpus({{"/sys/fs/cgroup/cpu.max", "200000 100000\n"}}).workers, 2);
  EXPECT_EQ(On16Cpus({{"/proc/self/cgroup", "0::/pod\n"},
                      {"/sys/fs/cgroup/pod/cpu.max", "300000 100000\n"}})
                .workers,
            3);
  for (const char* folder : {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"}) {
    EXPECT_EQ(On16Cpus({{absl::StrCat(folder, "/cpu.cfs_quota_us"), "400000\n"},
                        {absl::StrCat(folder, "/cpu.cfs_period_us"), "100000\n"}})
                  .workers,
              4)
        << folder;
  }
}

TEST(DetectCpuBudget, IsAtLeastOneWorker) {
  EXPECT_EQ(On16Cpus({{"/sys/fs/cgroup/cpu.max", "10000 100000\n"}}).workers, 1);
  FakeFiles fs(Files{});
  const CpuBudget none = DetectCpuBudget(fs, "", {});
  EXPECT_EQ(none.workers, 1);
  EXPECT_EQ(none.affinity, 0);
}

TEST(DetectCpuBudget, MalformedQuotasAreNoLimit) {
  for (const char* text :
       {"", "\n", "max", "lots 100000", "100000 often", "100000 0", "100000 -1", "0 100000",
        "-5 100000", "1e5 100000", "100000 100000 1", "99999999999999999999999 100000"}) {
    EXPECT_EQ(On16Cpus({{"/sys/fs/cgroup/cpu.max", text}}).workers, 16) << '"' << text << '"';
  }
  for (const auto& [quota, period] :
       std::vector<std::pair<std::string, std::string>>{{"-1\n", "100000\n"},
                                                        {"100000\n", ""},
                                                        {"", "100000\n"},
                                                        {"x\n", "100000\n"},
                                                        {"100000\n", "0\n"},
                                                        {"100000\n", "-1\n"},
                                                        {"0\n", "100000\n"}}) {
    EXPECT_EQ(On16Cpus({{"/sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota},
                        {"/sys/fs/cgroup/cpu/cpu.cfs_period_us", period}})
                  .workers,
              16)
        << quota << period;
  }
}

TEST(DetectCpuBudget, AQuotaAloneHasTheKernelsPeriod) {
  EXPECT_EQ(On16Cpus({{"/sys/fs/cgroup/cpu.max", "300000\n"}}).workers, 3);
}

TEST(DetectCpuBudget, MalformedProcFilesAreNoLimit) {
  for (const char* cgroup : {"nonsense", "0::", "0:", "::", "0::relative", "\0\0\0"}) {
    EXPECT_EQ(On16Cpus({{"/proc/self/cgroup", cgroup}}).workers, 16) << cgroup;
  }
  for (const char* mountinfo :
       {"-", "- - -", "1 2 3 4 5 6 -", "1 2 3 4 5 6 - cgroup2", "30 22 0:26 / - cgroup2 cgroup2 rw",
        "30 22 0:26 / /sys/fs/cgroup rw - tmpfs cgroup rw,cpu"}) {
    EXPECT_EQ(On16Cpus({{"/proc/self/mountinfo", mountinfo},
                        {"/sys/fs/cgroup/cpu.max", "100000 100000\n"}})
                  .workers,
              16)
        << mountinfo;
  }
}

TEST(DetectCpuBudget, AQuotaAboveTheAllowedCpusChangesNothing) {
  FakeFiles fs(Files{{"/sys/fs/cgroup/cpu.max", "6400000 100000\n"}});
  const CpuBudget budget = DetectCpuBudget(fs, "", {4, 5, 9});
  EXPECT_EQ(budget.cgroup_quota, 64);
  EXPECT_EQ(budget.workers, 3);
}

// The lists of a machine of four cores with two threads each, where CPU n's sibling is n + 4.
Files FourCoresOfTwoThreads() {
  Files files;
  for (int cpu = 0; cpu < 8; ++cpu) {
    files[absl::StrCat("/sys/devices/system/cpu/cpu", cpu, "/topology/thread_siblings_list")] =
        absl::StrCat(cpu % 4, ",", cpu % 4 + 4, "\n");
  }
  return files;
}

TEST(DetectCpuBudget, CountsHyperThreadsOnce) {
  FakeFiles fs(FourCoresOfTwoThreads());
  const CpuBudget all = DetectCpuBudget(fs, "", Cpus(8));
  EXPECT_EQ(all.affinity, 8);
  EXPECT_EQ(all.physical_cores, 4);
  EXPECT_EQ(all.workers, 4);
  EXPECT_EQ(DetectCpuBudget(fs, "", {1, 5}).workers, 1);     // both threads of one core
  EXPECT_EQ(DetectCpuBudget(fs, "", {4, 5}).workers, 2);     // the second threads of two cores
  EXPECT_EQ(DetectCpuBudget(fs, "", {0, 4, 7}).workers, 2);  // a core and a half
  fs.Set("/sys/fs/cgroup/cpu.max", "300000 100000\n");
  EXPECT_EQ(DetectCpuBudget(fs, "", Cpus(8)).workers, 3);
}

TEST(DetectCpuBudget, ReadsSiblingsWrittenAsARange) {
  FakeFiles fs(Files{{"/sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0-1\n"},
                     {"/sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "0-1\n"},
                     {"/sys/devices/system/cpu/cpu2/topology/thread_siblings_list", "2-3\n"},
                     {"/sys/devices/system/cpu/cpu3/topology/thread_siblings_list", "2-3\n"}});
  EXPECT_EQ(DetectCpuBudget(fs, "", Cpus(4)).physical_cores, 2);
}

TEST(DetectCpuBudget, ACpuWithAMalformedSiblingListIsACore) {
  for (const char* list : {"", "0", "x", "0-", "-1", "1-0", "0,,1", "0-1-2", "0-99999999", "2-3"}) {
    FakeFiles fs(Files{{"/sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0\n"},
                       {"/sys/devices/system/cpu/cpu1/topology/thread_siblings_list", list}});
    EXPECT_EQ(DetectCpuBudget(fs, "", Cpus(2)).physical_cores, 2) << list;
  }
}

TEST(DetectCpuBudget, ReadsOnlyUnderItsRoot) {
  FakeFiles fs(Files{{"/fake/proc/self/cgroup", "0::/x\n"},
                     {"/fake/proc/self/mountinfo", kV2MountInfo},
                     {"/fake/sys/fs/cgroup/x/cpu.max", "200000 100000\n"}});
  EXPECT_EQ(DetectCpuBudget(fs, "/fake", Cpus(16)).workers, 2);
  EXPECT_THAT(fs.paths_read(), Each(StartsWith("/fake/")));
}

TEST(DetectCpuBudget, AsksTheSchedulerWhichCpusItAllows) {
  cpu_set_t set;
  ASSERT_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
  FakeFiles fs(Files{});
  EXPECT_EQ(DetectCpuBudget(fs).affinity, CPU_COUNT(&set));
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) {
      CPU_SET(cpu, &one);
      break;
    }
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  const CpuBudget budget = DetectCpuBudget(fs);
  ASSERT_EQ(sched_setaffinity(0, sizeof(set), &set), 0);
  EXPECT_EQ(budget.affinity, 1);
  EXPECT_EQ(budget.workers, 1);
}

TEST(DetectCpuBudget, IsWithinTheBoundsOfThisMachine) {
  const CpuBudget budget = DetectCpuBudget(FileSystem::Posix());
  EXPECT_GE(budget.workers, 1);
  EXPECT_LE(budget.workers, budget.physical_cores);
  EXPECT_LE(budget.physical_cores, budget.affinity);
  EXPECT_GE(budget.cgroup_quota, 0);
}

TEST(QuotaToPaceBy, IsTheQuotaWhereWorkersAndOthersCouldUseItUp) {
  CpuBudget budget{.workers = 1, .cgroup_quota = 1.5, .affinity = 4, .physical_cores = 4};
  budget.cgroup_period = absl::Milliseconds(20);
  const CpuQuota quota = QuotaToPaceBy(budget, 1);
  EXPECT_EQ(quota.cores, 1.5);
  EXPECT_EQ(quota.period, absl::Milliseconds(20));
  EXPECT_EQ(QuotaToPaceBy(budget, 3).cores, 1.5);
  budget.cgroup_quota = 2;
  EXPECT_EQ(QuotaToPaceBy(budget, 1).cores, 0) << "a worker and a core for the rest";
  EXPECT_EQ(QuotaToPaceBy(budget, 2).cores, 2);
  budget.cgroup_quota = 4;
  EXPECT_EQ(QuotaToPaceBy(budget, 4).cores, 0) << "as many as there are CPUs";
  budget.cgroup_quota = 0;
  EXPECT_EQ(QuotaToPaceBy(budget, 4).cores, 0);
}

TEST(ReadCpuThrottling, IsOfTheGroupThatWasHeldMost) {
  FakeFiles none{Files{}};
  EXPECT_FALSE(ReadCpuThrottling(none).has_value());
  FakeFiles v1(Files{{"/sys/fs/cgroup/cpu/cpu.stat",
                 "nr_periods 10\nnr_throttled 4\nthrottled_time 1500000000\n"}});
  EXPECT_EQ(ReadCpuThrottling(v1)->periods, 4);
  EXPECT_EQ(ReadCpuThrottling(v1)->time, absl::Milliseconds(1500));
  FakeFiles v2(
      {{"/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"},
       {"/proc/self/cgroup", "0::/a/b\n"},
       {"/sys/fs/cgroup/a/b/cpu.stat", "usage_usec 7\nnr_throttled 0\nthrottled_usec 0\n"},
       {"/sys/fs/cgroup/a/cpu.stat", "usage_usec 9\nnr_throttled 2\nthrottled_usec 3000\n"},
       {"/sys/fs/cgroup/cpu.stat", "usage_usec 9\n"}});
  EXPECT_EQ(ReadCpuThrottling(v2)->periods, 2);
  EXPECT_EQ(ReadCpuThrottling(v2)->time, absl::Milliseconds(3));
  FakeFiles malformed(Files{{"/sys/fs/cgroup/cpu/cpu.stat", "nr_throttled -1\nthrottled_time"}});
  EXPECT_FALSE(ReadCpuThrottling(malformed).has_value());
}

}  // namespace
}  // namespace convd
