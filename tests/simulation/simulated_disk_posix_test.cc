#include <gtest/gtest.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/storage/file_system.h"
#include "tests/simulation/simulated_disk.h"

namespace convd {
namespace {

std::string Shown(const absl::StatusOr<std::string>& text) {
  return text.ok() ? *text : std::string(text.status().message());
}

// Where a simulated disk said something else than a real one, tests on it would prove nothing.
TEST(SimulatedDisk, AnswersAsThePosixFileSystemDoes) {
  SimulatedDisk disk(1);
  FileSystem& posix = FileSystem::Posix();
  const std::string real = testing::TempDir() + "simulated_disk_test";
  ASSERT_TRUE(posix.RemoveAll(real).ok());
  ASSERT_TRUE(disk.CreateDirectories(real).ok());
  ASSERT_TRUE(posix.CreateDirectories(real).ok());
  const auto compare = [&](auto call) {
    const auto text = [](const absl::Status& status) { return status.ToString(); };
    EXPECT_EQ(text(call(disk)), text(call(posix)));
  };
  const std::string file = real + "/file", folder = real + "/folder", none = real + "/none";
  const std::string long_name = real + "/" + std::string(300, 'n');
  for (const std::string& path : {file, folder, none, real + "/folder/x", file + "/x", none + "/x",
                                  file + "/", folder + "/..", long_name, std::string()}) {
    for (FileSystem* fs : {static_cast<FileSystem*>(&disk), &posix}) {
      ASSERT_TRUE(fs->RemoveAll(real).ok());
      ASSERT_TRUE(fs->CreateDirectories(real + "/folder/x").ok());
      ASSERT_TRUE(WriteFileAtomically(*fs, file, "data").ok());
    }
    EXPECT_EQ(disk.Exists(path), posix.Exists(path)) << path;
    EXPECT_EQ(disk.IsDirectory(path), posix.IsDirectory(path)) << path;
    compare([&](FileSystem& fs) { return fs.Read(path, 100).status(); });
    compare([&](FileSystem& fs) { return fs.Read(path, 3).status(); });
    compare([&](FileSystem& fs) { return fs.Map(path).status(); });
    compare([&](FileSystem& fs) { return fs.List(path).status(); });
    compare([&](FileSystem& fs) { return fs.Size(path).status(); });
    compare([&](FileSystem& fs) { return fs.Canonical(path).status(); });
    compare([&](FileSystem& fs) { return fs.TreeBytes(path).status(); });
    compare([&](FileSystem& fs) { return fs.FreeBytes(path).status(); });
    compare([&](FileSystem& fs) { return fs.SyncDirectory(path); });
    EXPECT_EQ(Shown(disk.Canonical(path)), Shown(posix.Canonical(path)));
    compare([&](FileSystem& fs) { return fs.Create(path).status(); });
    compare([&](FileSystem& fs) { return fs.CreateDirectories(path); });
    if (path == long_name) continue;  // which of two errors is told may differ
    compare([&](FileSystem& fs) { return fs.Rename(path, file); });
    compare([&](FileSystem& fs) { return fs.Rename(path, folder); });
    compare([&](FileSystem& fs) { return fs.Rename(path, path + "/y"); });
    compare([&](FileSystem& fs) { return fs.Rename(path, none + "/y"); });
    compare([&](FileSystem& fs) { return fs.Rename(file, path); });
    compare([&](FileSystem& fs) { return fs.Remove(path); });
    compare([&](FileSystem& fs) { return fs.RemoveAll(path); });
    EXPECT_EQ(*disk.List(real), *posix.List(real)) << path;
  }
  ASSERT_TRUE(posix.RemoveAll(real).ok());
}

}  // namespace
}  // namespace convd
