#include "tests/simulation/simulated_disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/storage/file_system.h"

namespace convd {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Kind = SimulatedDisk::Operation::Kind;

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

std::string Shown(const absl::StatusOr<std::string>& data) {
  return data.ok() ? *data : std::string(data.status().message());
}

std::string Content(SimulatedDisk& disk, const std::string& path) {
  return Shown(disk.Read(path, kNoLimit));
}

std::unique_ptr<RandomAccessFile> Open(SimulatedDisk& disk, const std::string& path) {
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> file = disk.OpenRandomAccess(path, true);
  EXPECT_TRUE(file.ok()) << file.status();
  return *std::move(file);
}

// A durable file.
void Put(SimulatedDisk& disk, const std::string& path, std::string_view data) {
  ASSERT_TRUE(WriteFileAtomically(disk, path, data).ok());
}

// Without any sync.
void Write(SimulatedDisk& disk, const std::string& path, std::string_view data) {
  absl::StatusOr<std::unique_ptr<WritableFile>> file = disk.Create(path);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_TRUE((*file)->Append(data).ok());
  ASSERT_TRUE((*file)->Close().ok());
}

// What `left` tells of a disk after `act` and a power cut, over many seeds.
template <typename Act, typename Left>
std::set<std::string> Outcomes(Act act, Left left) {
  std::set<std::string> outcomes;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SimulatedDisk disk(seed);
    act(disk);
    disk.Restart();
    outcomes.insert(left(disk));
  }
  return outcomes;
}

TEST(SimulatedDisk, WritesAreLostWithoutASync) {
  SimulatedDisk disk(1);
  Put(disk, "/a", "old");
  const auto file = Open(disk, "/a");
  ASSERT_TRUE(file->WriteAt(0, "new bytes").ok());
  EXPECT_EQ(Content(disk, "/a"), "new bytes");
  disk.Restart(Survival::kNothing);
  EXPECT_EQ(Content(disk, "/a"), "old");
}

TEST(SimulatedDisk, SyncedWritesStay) {
  SimulatedDisk disk(1);
  Put(disk, "/a", "old");
  const auto file = Open(disk, "/a");
  ASSERT_TRUE(file->WriteAt(0, "new bytes").ok());
  ASSERT_TRUE(file->Sync().ok());
  disk.Restart(Survival::kNothing);
  EXPECT_EQ(Content(disk, "/a"), "new bytes");
}

TEST(SimulatedDisk, EverythingMayStayWithoutASync) {
  SimulatedDisk disk(1);
  ASSERT_TRUE(disk.CreateDirectories("/d/e").ok());
  Write(disk, "/d/e/a", "unsynced");
  disk.Restart(Survival::kEverything);
  EXPECT_EQ(Content(disk, "/d/e/a"), "unsynced");
}

TEST(SimulatedDisk, SectorsOfAWriteSurviveInAnyCombination) {
  constexpr size_t kSector = CachedFile::kSector;
  const std::set<std::string> outcomes = Outcomes(
      [](SimulatedDisk& disk) {
        Put(disk, "/a", std::string(3 * kSector, '-'));
        ASSERT_TRUE(Open(disk, "/a")->WriteAt(0, std::string(3 * kSector, '+')).ok());
      },
      [](SimulatedDisk& disk) {
        const std::string data = Content(disk, "/a");
        std::string sectors;
        for (size_t i = 0; i < 3; ++i) {
          const std::string sector = data.substr(i * kSector, kSector);
          EXPECT_EQ(sector, std::string(kSector, sector[0]));
          sectors += sector[0];
        }
        return sectors;
      });
  EXPECT_THAT(outcomes, ElementsAre("+++", "++-", "+-+", "+--", "-++", "-+-", "--+", "---"));
}

TEST(SimulatedDisk, TornWritesLeaveTheirSurroundingsAlone) {
  const std::set<std::string> outcomes = Outcomes(
      [](SimulatedDisk& disk) {
        Put(disk, "/a", "0123456789");
        ASSERT_TRUE(Open(disk, "/a")->WriteAt(3, "abc").ok());
      },
      [](SimulatedDisk& disk) { return Content(disk, "/a"); });
  EXPECT_THAT(outcomes, ElementsAre("0123456789", "012abc6789"));
}

TEST(SimulatedDisk, SectorsCountFromTheStartOfTheFile) {
  const std::set<std::string> outcomes = Outcomes(
      [](SimulatedDisk& disk) {
        Put(disk, "/a", std::string(600, '-'));
        ASSERT_TRUE(Open(disk, "/a")->WriteAt(510, "1234").ok());
      },
      [](SimulatedDisk& disk) { return Content(disk, "/a").substr(509, 6); });
  EXPECT_THAT(outcomes, ElementsAre("------", "---34-", "-12---", "-1234-"));
}

TEST(SimulatedDisk, LaterWritesMaySurviveWithoutEarlierOnes) {
  const std::set<std::string> outcomes = Outcomes(
      [](SimulatedDisk& disk) {
        Put(disk, "/a", "--");
        const auto file = Open(disk, "/a");
        ASSERT_TRUE(file->WriteAt(0, "1").ok());
        ASSERT_TRUE(file->WriteAt(1, "2").ok());
      },
      [](SimulatedDisk& disk) { return Content(disk, "/a"); });
  EXPECT_THAT(outcomes, ElementsAre("--", "-2", "1-", "12"));
}

TEST(SimulatedDisk, ASizeMaySurviveWithoutTheBytes) {
  const std::set<std::string> outcomes = Outcomes(
      [](SimulatedDisk& disk) {
        Put(disk, "/a", "x");
        ASSERT_TRUE(Open(disk, "/a")->WriteAt(1, "yz").ok());
      },
      [](SimulatedDisk& disk) { return Content(disk, "/a"); });
  using std::literals::string_literals::operator""s;
  EXPECT_THAT(outcomes, Contains("x"));
  EXPECT_THAT(outcomes, Contains("xy"));
  EXPECT_THAT(outcomes, Contains("xyz"));
  EXPECT_THAT(outcomes, Contains("x\0\0"s));
  EXPECT_GT(outcomes.size(), 6u) << "no garbage";
  for (const std::string& outcome : outcomes) EXPECT_EQ(outcome[0], 'x');
}

TEST(SimulatedDisk, TruncatesSurviveOrNot) {
  const std::set<std::string> outcomes = Outcomes(
      [](SimulatedDisk& disk) {
        Put(disk, "/a", "abc");
        ASSERT_TRUE(Open(disk, "/a")->Truncate(1).ok());
      },
      [](SimulatedDisk& disk) { return Content(disk, "/a"); });
  EXPECT_THAT(outcomes, Contains("a"));
  EXPECT_THAT(outcomes, Contains("abc"));
}

TEST(SimulatedDisk, WhatSurvivedOnceStays) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SimulatedDisk disk(seed);
    Write(disk, "/a", std::string(2000, 'x'));
    disk.Restart();
    const std::string left = Content(disk, "/a");
    disk.Restart(Survival::kNothing);
    EXPECT_EQ(Content(disk, "/a"), left);
  }
}

TEST(SimulatedDisk, ASeedDecides) {
  const auto left = [](uint64_t seed) {
    SimulatedDisk disk(seed);
    Write(disk, "/a", std::string(9000, 'x'));
    Write(disk, "/b", std::string(9000, 'x'));
    disk.Restart();
    return Content(disk, "/a") + "|" + Content(disk, "/b");
  };
  std::set<std::string> different;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    EXPECT_EQ(left(seed), left(seed));
    different.insert(left(seed));
  }
  EXPECT_GT(different.size(), 5u);
}

TEST(SimulatedDisk, ASyncedFileHasNoEntryWithoutASyncOfTheFolder) {
  SimulatedDisk disk(1);
  const auto file = Open(disk, "/a");
  ASSERT_TRUE(file->WriteAt(0, "x").ok());
  ASSERT_TRUE(file->Sync().ok());
  disk.Restart(Survival::kNothing);
  EXPECT_FALSE(disk.Exists("/a"));
}

TEST(SimulatedDisk, AnEntryMaySurviveWithoutTheBytes) {
  SimulatedDisk disk(1);
  Write(disk, "/a", "x");
  ASSERT_TRUE(disk.SyncDirectory("/").ok());
  disk.Restart(Survival::kNothing);
  EXPECT_EQ(Content(disk, "/a"), "");
}

TEST(SimulatedDisk, RenamesAndRemovesAreLostWithoutASyncOfTheFolder) {
  SimulatedDisk disk(1);
  Put(disk, "/a", "a");
  Put(disk, "/b", "b");
  ASSERT_TRUE(disk.Rename("/a", "/c").ok());
  ASSERT_TRUE(disk.Remove("/b").ok());
  EXPECT_THAT(*disk.List("/"), ElementsAre("c"));
  disk.Restart(Survival::kNothing);
  EXPECT_THAT(*disk.List("/"), ElementsAre("a", "b"));
  ASSERT_TRUE(disk.Rename("/a", "/c").ok());
  ASSERT_TRUE(disk.Remove("/b").ok());
  ASSERT_TRUE(disk.SyncDirectory("/").ok());
  disk.Restart(Survival::kNothing);
  EXPECT_THAT(*disk.List("/"), ElementsAre("c"));
  EXPECT_EQ(Content(disk, "/c"), "a");
}

TEST(SimulatedDisk, FoldersAreLostWithoutASyncOfEachParent) {
  SimulatedDisk disk(1);
  ASSERT_TRUE(disk.CreateDirectories("/d/e").ok());
  Put(disk, "/d/e/a", "a");
  ASSERT_TRUE(disk.SyncDirectory("/d").ok());
  disk.Restart(Survival::kNothing);
  EXPECT_THAT(*disk.List("/"), IsEmpty());
  ASSERT_TRUE(disk.CreateDirectories("/d/e").ok());
  Put(disk, "/d/e/a", "a");
  ASSERT_TRUE(disk.SyncDirectory("/d").ok());
  ASSERT_TRUE(disk.SyncDirectory("/").ok());
  disk.Restart(Survival::kNothing);
  EXPECT_EQ(Content(disk, "/d/e/a"), "a");
}

TEST(SimulatedDisk, ChangesOfAFolderSurviveInTheirOrder) {
  const std::set<std::string> outcomes = Outcomes(
      [](SimulatedDisk& disk) {
        Write(disk, "/1", "");
        Write(disk, "/2", "");
        ASSERT_TRUE(disk.Rename("/1", "/3").ok());
        ASSERT_TRUE(disk.Remove("/2").ok());
      },
      [](SimulatedDisk& disk) {
        std::string names;
        const absl::StatusOr<std::vector<std::string>> listed = disk.List("/");
        for (const std::string& name : *listed) names += name;
        return names;
      });
  EXPECT_THAT(outcomes, ElementsAre("", "1", "12", "23", "3"));
}

TEST(SimulatedDisk, ARenameIntoAnotherFolderIsThereWhollyOrNotAtAll) {
  const auto places = [](SimulatedDisk& disk) {
    return std::string(disk.Exists("/d/a") ? "d" : "") + (disk.Exists("/e/a") ? "e" : "");
  };
  const auto move = [](SimulatedDisk& disk) {
    ASSERT_TRUE(disk.CreateDirectories("/d").ok());
    ASSERT_TRUE(disk.SyncDirectory("/").ok());
    Put(disk, "/d/a", "a");
    ASSERT_TRUE(disk.CreateDirectories("/e").ok());
    ASSERT_TRUE(disk.Rename("/d/a", "/e/a").ok());
  };
  // Gone where the rename survives and the folder that it leads into doesn't.
  EXPECT_THAT(Outcomes(move, places), ElementsAre("", "d", "e"));
  for (const std::string folder : {"/d", "/e"}) {
    const auto move_and_sync = [&](SimulatedDisk& disk) {
      move(disk);
      ASSERT_TRUE(disk.SyncDirectory(folder).ok());
    };
    EXPECT_THAT(Outcomes(move_and_sync, places), ElementsAre("", "e")) << folder;
    const auto move_and_sync_all = [&](SimulatedDisk& disk) {
      move_and_sync(disk);
      ASSERT_TRUE(disk.SyncDirectory("/").ok());
    };
    EXPECT_THAT(Outcomes(move_and_sync_all, places), ElementsAre("e")) << folder;
  }
}

TEST(SimulatedDisk, TheMachineStaysOffUntilRestarted) {
  SimulatedDisk disk(1);
  Put(disk, "/a", "a");
  const auto file = Open(disk, "/a");
  const auto appended = *disk.Create("/b");
  disk.CrashAt(2);
  EXPECT_TRUE(file->Sync().ok());
  EXPECT_FALSE(disk.crashed());
  const absl::Status off = disk.Remove("/a");
  EXPECT_TRUE(absl::IsUnavailable(off));
  EXPECT_THAT(std::string(off.message()), HasSubstr("/a: the simulated machine is off"));
  EXPECT_TRUE(disk.crashed());
  const int64_t operations = disk.operations();
  EXPECT_TRUE(absl::IsUnavailable(disk.Read("/a", kNoLimit).status()));
  EXPECT_TRUE(absl::IsUnavailable(disk.Create("/b").status()));
  EXPECT_TRUE(absl::IsUnavailable(disk.RemoveAll("/a")));
  EXPECT_TRUE(absl::IsUnavailable(file->ReadAt(0, 1).status()));
  EXPECT_TRUE(absl::IsUnavailable(file->WriteAt(0, "x")));
  EXPECT_TRUE(absl::IsUnavailable(appended->Close()));
  EXPECT_FALSE(disk.Exists("/a"));
  EXPECT_EQ(disk.operations(), operations);
  disk.Restart();
  EXPECT_EQ(Content(disk, "/a"), "a");
  EXPECT_TRUE(absl::IsUnavailable(file->ReadAt(0, 1).status()));
  EXPECT_TRUE(absl::IsUnavailable(file->WriteAt(0, "x")));
  EXPECT_TRUE(disk.Remove("/a").ok());
}

TEST(SimulatedDisk, TheWriteThatTheCrashMeetsMayHappenPartly) {
  std::set<std::string> outcomes;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    SimulatedDisk disk(seed);
    const auto file = Open(disk, "/a");
    disk.CrashAt(1);
    EXPECT_FALSE(file->WriteAt(0, "abc").ok());
    disk.Restart(Survival::kEverything);
    outcomes.insert(Content(disk, "/a"));
  }
  EXPECT_THAT(outcomes, ElementsAre("", "a", "ab", "abc"));
}

TEST(SimulatedDisk, OperationsFailOnceWithoutACrash) {
  SimulatedDisk disk(1);
  disk.FailAt(2, absl::PermissionDeniedError("made to"));
  Write(disk, "/a", "");
  EXPECT_EQ(disk.CreateDirectories("/d"), absl::PermissionDeniedError("/d: made to"));
  EXPECT_FALSE(disk.Exists("/d"));
  EXPECT_TRUE(disk.CreateDirectories("/d").ok());
  disk.FailIf([](const SimulatedDisk::Operation& operation) {
    return operation.kind == Kind::kRemove && operation.path == "/d"
               ? absl::InternalError("made to")
               : absl::OkStatus();
  });
  EXPECT_TRUE(disk.Remove("/a").ok());
  EXPECT_EQ(disk.Remove("/d"), absl::InternalError("/d: made to"));
  disk.FailIf(nullptr);
  EXPECT_TRUE(disk.Remove("/d").ok());
}

TEST(SimulatedDisk, AfterAFailedSyncAnotherOneIsNoPromise) {
  const auto fail_and_sync = [](SimulatedDisk& disk) {
    Put(disk, "/a", "---");
    const auto file = Open(disk, "/a");
    ASSERT_TRUE(file->WriteAt(0, "1").ok());
    disk.FailAt(1, absl::InternalError("made to"));
    ASSERT_FALSE(file->Sync().ok());
    ASSERT_TRUE(file->WriteAt(1, "2").ok());
    ASSERT_TRUE(file->Sync().ok());
    ASSERT_TRUE(file->WriteAt(2, "3").ok());
    EXPECT_EQ(Content(disk, "/a"), "123");
  };
  const auto left = [](SimulatedDisk& disk) { return Content(disk, "/a"); };
  EXPECT_THAT(Outcomes(fail_and_sync, left), ElementsAre("-2-", "-23", "12-", "123"));
}

TEST(SimulatedDisk, WhatWasLostNeverComesOutAboveLaterSyncedBytes) {
  const auto fail_and_overwrite = [](SimulatedDisk& disk) {
    Put(disk, "/a", "--");
    const auto file = Open(disk, "/a");
    ASSERT_TRUE(file->WriteAt(0, "1111").ok());
    disk.FailAt(1, absl::InternalError("made to"));
    ASSERT_FALSE(file->Sync().ok());
    ASSERT_TRUE(file->WriteAt(0, "2222").ok());
    ASSERT_TRUE(file->Sync().ok());
  };
  const auto left = [](SimulatedDisk& disk) { return Content(disk, "/a"); };
  EXPECT_THAT(Outcomes(fail_and_overwrite, left), ElementsAre("2222"));
}

TEST(SimulatedDisk, AFileAppendedToKeepsItsFirstError) {
  SimulatedDisk disk(1);
  const auto file = *disk.Create("/a");
  disk.FailAt(1, absl::InternalError("made to"));
  EXPECT_FALSE(file->Sync().ok());
  EXPECT_FALSE(file->Append("x").ok());
  EXPECT_FALSE(file->Sync().ok());
  EXPECT_EQ(file->Close(), absl::InternalError("/a: made to"));
  const auto closed = *disk.Create("/a");
  EXPECT_TRUE(closed->Close().ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(closed->Append("x")));
}

TEST(SimulatedDisk, IgnoredSyncsAreOkAndDoNothing) {
  for (const Kind ignored : {Kind::kSync, Kind::kSyncDirectory}) {
    SimulatedDisk disk(1);
    Put(disk, "/a", "old");
    disk.OnOperation(
        [&](const SimulatedDisk::Operation& operation) { return operation.kind == ignored; });
    Put(disk, "/a", "new");
    Put(disk, "/b", "b");
    disk.Restart(Survival::kNothing);
    EXPECT_EQ(Content(disk, "/a"), ignored == Kind::kSync ? "" : "old");
    EXPECT_EQ(disk.Exists("/b"), ignored == Kind::kSync);
  }
}

TEST(SimulatedDisk, TellsOfItsOperations) {
  SimulatedDisk disk(1);
  std::vector<std::string> told;
  disk.OnOperation([&](const SimulatedDisk::Operation& operation) {
    told.push_back(std::to_string(operation.index) + " " +
                   std::to_string(static_cast<int>(operation.kind)) + " " + operation.path);
    return false;
  });
  ASSERT_TRUE(disk.CreateDirectories("d/./e/..").ok());
  Put(disk, "/d/../d/a", "x");
  EXPECT_TRUE(disk.RemoveAll("/d").ok());
  EXPECT_THAT(told,
              ElementsAre("1 4 /d", "2 4 /d/e", "3 0 /d/a.tmp", "4 1 /d/a.tmp", "5 3 /d/a.tmp",
                          "6 5 /d/a", "7 7 /d", "8 6 /d/a", "9 6 /d/e", "10 6 /d"));
  EXPECT_EQ(disk.operations(), 10);
}

TEST(SimulatedDisk, GetsFull) {
  SimulatedDisk disk(1);
  Write(disk, "/a", "12345");
  disk.SetCapacity(8);
  const auto file = Open(disk, "/b");
  const absl::Status full = file->WriteAt(0, "abcde");
  EXPECT_TRUE(absl::IsResourceExhausted(full));
  EXPECT_THAT(std::string(full.message()), HasSubstr("/b: can't be written: No space left"));
  EXPECT_EQ(Content(disk, "/b"), "abc");
  EXPECT_TRUE(file->WriteAt(0, "xyz").ok());
  EXPECT_TRUE(disk.Remove("/a").ok());
  EXPECT_TRUE(file->WriteAt(3, "de").ok());
  EXPECT_FALSE(file->WriteAt(5, "fghi").ok());
  disk.SetCapacity(std::nullopt);
  EXPECT_TRUE(file->WriteAt(5, "fghi").ok());
  EXPECT_EQ(Content(disk, "/b"), "xyzdefghi");
}

TEST(SimulatedDisk, SaysWhatIsTakenAndWhatIsFree) {
  SimulatedDisk disk(1);
  ASSERT_TRUE(disk.CreateDirectories("/a/b").ok());
  Write(disk, "/a/x", "123");
  Write(disk, "/a/b/y", "4567");
  Write(disk, "/z", "89");
  EXPECT_EQ(*disk.TreeBytes("/a"), 7);
  EXPECT_EQ(*disk.TreeBytes("/z"), 2);
  EXPECT_GT(*disk.FreeBytes("/a"), int64_t{1} << 60);
  disk.SetCapacity(12);
  EXPECT_EQ(*disk.FreeBytes("/a"), 3);
  disk.SetCapacity(5);
  EXPECT_EQ(*disk.FreeBytes("/a"), 0);
}

TEST(SimulatedDisk, FilesCanBeReadAndWrittenAnywhere) {
  SimulatedDisk disk(1);
  EXPECT_TRUE(absl::IsNotFound(disk.OpenRandomAccess("/a", false).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(disk.OpenRandomAccess("/", true).status()));
  const auto file = Open(disk, "/a");
  ASSERT_TRUE(file->WriteAt(2, "cd").ok());
  using std::literals::string_literals::operator""s;
  EXPECT_EQ(*file->ReadAt(0, 10), "\0\0cd"s);
  EXPECT_EQ(*file->ReadAt(2, 1), "c");
  EXPECT_EQ(*file->ReadAt(4, 1), "");
  EXPECT_EQ(*file->Size(), 4);
  ASSERT_TRUE(file->Truncate(3).ok());
  const auto copy = *disk.Map("/a");
  ASSERT_TRUE(disk.Remove("/a").ok());
  EXPECT_FALSE(disk.Exists("/a"));
  ASSERT_TRUE(file->WriteAt(0, "ab").ok());
  ASSERT_TRUE(file->Sync().ok());
  EXPECT_EQ(*file->ReadAt(0, 10), "abc");
  EXPECT_EQ(copy->data(), "\0\0c"s);
}

// Runs WriteFileAtomically over an old file up to a crash at every operation, and says what there
// was afterwards: "old", "new" or "damaged"; "lost" where it had said that the new one is there.
std::set<std::string> AtomicWrites(Kind ignored) {
  const std::string before(1500, 'o'), after(2500, 'n');
  std::set<std::string> outcomes;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    for (int64_t crash = 1; crash <= 6; ++crash) {
      SimulatedDisk disk(seed);
      Put(disk, "/a", before);
      disk.OnOperation(
          [&](const SimulatedDisk::Operation& operation) { return operation.kind == ignored; });
      disk.CrashAt(crash);
      const bool done = WriteFileAtomically(disk, "/a", after).ok();
      EXPECT_EQ(done, crash == 6);
      disk.Restart();
      const std::string data = Content(disk, "/a");
      outcomes.insert(data == after ? "new" : data != before ? "damaged" : done ? "lost" : "old");
    }
  }
  return outcomes;
}

TEST(SimulatedDisk, FilesWrittenAtomicallySurviveCrashes) {
  EXPECT_THAT(AtomicWrites(/*ignored=*/Kind::kRemove), ElementsAre("new", "old"));
}

TEST(SimulatedDisk, FilesWrittenAtomicallyNeedBothSyncs) {
  EXPECT_THAT(AtomicWrites(/*ignored=*/Kind::kSync), Contains("damaged"));
  EXPECT_THAT(AtomicWrites(/*ignored=*/Kind::kSyncDirectory), ElementsAre("lost", "new", "old"));
}

}  // namespace
}  // namespace convd
