// Whether SQLite's own VFS changes a real disk as DiskVfs changes a simulated one: what the crash
// tests find is worth no more than that. SQLite is a shared library, so its calls come by here.

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_join.h"
#include "core/storage/file_system.h"
#include "tests/core/time/hand_clock.h"
#include "tests/simulation/disk_vfs.h"
#include "tests/simulation/simulated_disk.h"

namespace {

using Kind = convd::SimulatedDisk::Operation::Kind;

std::vector<std::string>* traced = nullptr;

// Only the last name: the folders are others.
std::string Line(Kind kind, std::string_view path) {
  constexpr std::array kKinds = {"create", "write",  "truncate", "sync",
                                 "mkdir",  "rename", "remove",   "sync"};
  return std::string(kKinds[static_cast<size_t>(kind)]) + " " +
         std::string(path.substr(path.rfind('/') + 1));
}

void Trace(Kind kind, std::string_view path) {
  if (traced != nullptr) traced->push_back(Line(kind, path));
}

void Trace(Kind kind, int fd) {
  if (traced == nullptr) return;
  std::array<char, 4096> path;
  const ssize_t size =
      readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path.data(), path.size());
  Trace(kind, std::string_view(path.data(), size < 0 ? 0 : static_cast<size_t>(size)));
}

template <typename Function>
Function* Next(Function*, const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

int fsync(int fd) {
  Trace(Kind::kSync, fd);
  return Next(&fsync, "fsync")(fd);
}

int fdatasync(int fd) {
  Trace(Kind::kSync, fd);
  return Next(&fdatasync, "fdatasync")(fd);
}

int unlink(const char* path) noexcept {
  Trace(Kind::kRemove, path);
  return Next(&unlink, "unlink")(path);
}

int ftruncate64(int fd, off64_t size) noexcept {
  Trace(Kind::kTruncate, fd);
  return Next(&ftruncate64, "ftruncate64")(fd, size);
}

ssize_t pwrite64(int fd, const void* data, size_t size, off64_t offset) {
  Trace(Kind::kWrite, fd);
  return Next(&pwrite64, "pwrite64")(fd, data, size, offset);
}

}  // extern "C"

namespace convd {
namespace {

// Makes a database, fills it until there are checkpoints and the WAL starts again, closes it, opens
// it once more.
void UseDatabase(const std::string& path, const char* vfs) {
  for (int run = 0; run < 2; ++run) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs),
              SQLITE_OK);
    std::vector<std::string> statements = {
        "PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL",
        "PRAGMA wal_autocheckpoint=8", "CREATE TABLE IF NOT EXISTS rows (data TEXT UNIQUE)"};
    for (int i = 0; i < 20; ++i) {
      statements.push_back("INSERT INTO rows VALUES (printf('%d.%d%.*c', " + std::to_string(run) +
                           ", " + std::to_string(i) + ", 1500, 'x'))");
    }
    statements.push_back("BEGIN; DELETE FROM rows; ROLLBACK");
    statements.push_back("DELETE FROM rows WHERE rowid % 2 = 0");
    statements.push_back("VACUUM");
    for (const std::string& statement : statements) {
      EXPECT_EQ(sqlite3_exec(db, statement.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
          << statement << ": " << sqlite3_errmsg(db);
    }
    EXPECT_EQ(sqlite3_close(db), SQLITE_OK);
  }
}

TEST(UnixVfs, ChangesTheDiskAsTheSimulatedOneDoes) {
  const std::string folder = testing::TempDir() + "unix_vfs_test";
  FileSystem& posix = FileSystem::Posix();
  ASSERT_TRUE(posix.RemoveAll(folder).ok());
  ASSERT_TRUE(posix.CreateDirectories(folder).ok());
  std::vector<std::string> real;
  traced = &real;
  UseDatabase(folder + "/test", "unix");
  traced = nullptr;
  ASSERT_TRUE(posix.RemoveAll(folder).ok());

  SimulatedDisk disk(1);
  HandClock clock;
  ASSERT_TRUE(disk.CreateDirectories(folder).ok());
  DiskVfs vfs(disk, clock, 1);
  std::vector<std::string> simulated;
  disk.OnOperation([&](const SimulatedDisk::Operation& operation) {
    // Those of the real disk aren't traced.
    if (operation.kind != Kind::kCreate) simulated.push_back(Line(operation.kind, operation.path));
    return false;
  });
  UseDatabase(folder + "/test", vfs.name());

  EXPECT_GT(real.size(), 200u);
  EXPECT_THAT(real, testing::Contains("sync unix_vfs_test"));
  EXPECT_THAT(real, testing::Contains("sync test-wal"));
  EXPECT_EQ(absl::StrJoin(simulated, "\n"), absl::StrJoin(real, "\n"));
}

// Opens, reads, writes and deletes files in `folder`, and says what every call answered.
std::vector<std::string> Answers(sqlite3_vfs* vfs, const std::string& folder) {
  std::vector<std::string> answers;
  const auto say = [&](const std::string& what, int64_t answer) {
    answers.push_back(what + ": " + std::to_string(answer));
  };
  const std::string path = folder + "/test", wal = path + "-wal";
  const char* const name = sqlite3_create_filename(path.c_str(), "", wal.c_str(), 0, nullptr);
  std::vector<std::max_align_t> memory(
      static_cast<size_t>(vfs->szOsFile) / sizeof(std::max_align_t) + 1);
  auto* const file = reinterpret_cast<sqlite3_file*>(memory.data());
  const auto access = [&](const std::string& what, int flags) {
    int there = 0;
    say(what, vfs->xAccess(vfs, path.c_str(), flags, &there));
    say(what, there);
  };
  const auto size = [&] {
    sqlite3_int64 bytes = 0;
    say("size", file->pMethods->xFileSize(file, &bytes));
    say("size", bytes);
  };
  const auto read = [&](int64_t offset) {
    char data[5] = "----";
    say("read", file->pMethods->xRead(file, data, 4, offset));
    for (const char byte : data) say("byte", byte);
  };

  constexpr int kOpen = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE;
  say("not there", vfs->xOpen(vfs, name, file, kOpen, nullptr));
  say("no methods", file->pMethods == nullptr);
  access("not there", SQLITE_ACCESS_EXISTS);
  access("not there", SQLITE_ACCESS_READWRITE);
  say("not there", vfs->xDelete(vfs, path.c_str(), 0));
  say("in no folder", vfs->xDelete(vfs, (folder + "/none/test").c_str(), 1));
  int flags = 0;
  say("open", vfs->xOpen(vfs, name, file, kOpen | SQLITE_OPEN_CREATE, &flags));
  say("flags", flags);
  access("empty", SQLITE_ACCESS_EXISTS);
  access("empty", SQLITE_ACCESS_READWRITE);
  read(0);
  say("write", file->pMethods->xWrite(file, "a", 1, 0));
  size();
  access("a byte", SQLITE_ACCESS_EXISTS);
  say("write", file->pMethods->xWrite(file, "bcd", 3, 2));
  size();
  for (const int64_t offset : {0, 1, 3, 9}) read(offset);
  say("truncate", file->pMethods->xTruncate(file, 3));
  size();
  read(0);
  say("sync", file->pMethods->xSync(file, SQLITE_SYNC_NORMAL));
  say("device", file->pMethods->xDeviceCharacteristics(file));
  for (const int lock : {SQLITE_LOCK_SHARED, SQLITE_LOCK_RESERVED, SQLITE_LOCK_EXCLUSIVE}) {
    int reserved = 0;
    say("reserved", file->pMethods->xCheckReservedLock(file, &reserved));
    say("reserved", reserved);
    say("lock", file->pMethods->xLock(file, lock));
  }
  say("unlock", file->pMethods->xUnlock(file, SQLITE_LOCK_NONE));
  say("delete", vfs->xDelete(vfs, path.c_str(), 1));
  read(0);
  say("close", file->pMethods->xClose(file));
  constexpr int kNew = kOpen | SQLITE_OPEN_CREATE | SQLITE_OPEN_EXCLUSIVE;
  say("new", vfs->xOpen(vfs, name, file, kNew, nullptr));
  say("close", file->pMethods->xClose(file));
  say("not deleted", vfs->xDelete(vfs, folder.c_str(), 0) == SQLITE_IOERR_DELETE);
  constexpr int kTemporary = SQLITE_OPEN_TEMP_DB | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                             SQLITE_OPEN_EXCLUSIVE | SQLITE_OPEN_DELETEONCLOSE;
  say("temporary", vfs->xOpen(vfs, nullptr, file, kTemporary, nullptr));
  say("write", file->pMethods->xWrite(file, "abcd", 4, 0));
  read(0);
  say("close", file->pMethods->xClose(file));
  std::vector<char> full(static_cast<size_t>(vfs->mxPathname) + 1);
  const std::string winding = folder + "/./x/../test";
  say("full", vfs->xFullPathname(vfs, winding.c_str(), vfs->mxPathname, full.data()));
  answers.push_back(full.data());
  sqlite3_free_filename(name);
  return answers;
}

TEST(UnixVfs, AnswersAsTheSimulatedOneDoes) {
  const std::string folder = testing::TempDir() + "unix_vfs_answers_test";
  FileSystem& posix = FileSystem::Posix();
  ASSERT_TRUE(posix.RemoveAll(folder).ok());
  ASSERT_TRUE(posix.CreateDirectories(folder).ok());
  ASSERT_EQ(sqlite3_initialize(), SQLITE_OK);
  const std::vector<std::string> real = Answers(sqlite3_vfs_find("unix"), folder);
  ASSERT_TRUE(posix.RemoveAll(folder).ok());

  SimulatedDisk disk(1);
  HandClock clock;
  ASSERT_TRUE(disk.CreateDirectories(folder).ok());
  DiskVfs vfs(disk, clock, 1);
  const std::vector<std::string> simulated = Answers(sqlite3_vfs_find(vfs.name()), folder);
  // As lines, of which the test shows those that differ.
  EXPECT_EQ(absl::StrJoin(simulated, "\n"), absl::StrJoin(real, "\n"));
}

}  // namespace
}  // namespace convd
