#include "server/datasets/data_dirs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace convd {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class DataDirsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "/data_dirs_test.XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = fs::canonical(name).string();
    for (const char* folder : {"a/sub", "b", "secret", "ab"}) fs::create_directories(Path(folder));
    for (const char* file : {"a/f", "a/sub/g", "b/f", "b/only", "secret/f", "ab/f"}) {
      std::ofstream(Path(file)) << "x";
    }
  }
  void TearDown() override { fs::remove_all(root_); }

  std::string Path(const std::string& name) const { return root_ + "/" + name; }

  absl::StatusOr<std::string> Resolve(const std::string& path) {
    const auto dirs = DataDirs::Open(FileSystem::Posix(), {Path("a"), Path("b")}, "--data-dir");
    if (!dirs.ok()) return dirs.status();
    return dirs->Resolve("path", path);
  }
  void ExpectDenied(const std::string& path) {
    const absl::Status status = Resolve(path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied) << path << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("--data-dir"));
  }

  std::string root_;
};

TEST_F(DataDirsTest, PathsInsideAreResolved) {
  EXPECT_EQ(*Resolve(Path("a")), Path("a"));
  EXPECT_EQ(*Resolve(Path("a/")), Path("a"));
  EXPECT_EQ(*Resolve(Path("a/f")), Path("a/f"));
  EXPECT_EQ(*Resolve(Path("a/sub/../f")), Path("a/f"));
  EXPECT_EQ(*Resolve("sub/g"), Path("a/sub/g"));
  EXPECT_EQ(*Resolve("."), Path("a"));
}

TEST_F(DataDirsTest, ARelativePathIsOfTheFirstFolderThatHasIt) {
  EXPECT_EQ(*Resolve("f"), Path("a/f"));
  EXPECT_EQ(*Resolve("only"), Path("b/only"));
  const absl::Status status = Resolve("none").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("path: \"none\": there is no such file"));
}

TEST_F(DataDirsTest, WhatLiesOutsideIsRefusedWhetherItIsThereOrNot) {
  for (const char* path : {"secret/f", "secret/none", "ab/f", "ab", "none", "a/../secret/f"}) {
    ExpectDenied(Path(path));
  }
  for (const char* path :
       {"/etc/passwd", "/", "../secret/f", "sub/../../secret/f", "..", "/none/at/all"}) {
    ExpectDenied(path);
  }
}

TEST_F(DataDirsTest, LinksThatLeadOutAreRefusedAndOthersFollowed) {
  fs::create_directory_symlink(Path("secret"), Path("a/out"));
  fs::create_symlink(Path("secret/f"), Path("a/file-out"));
  fs::create_directory_symlink(Path("b"), Path("a/across"));
  ExpectDenied(Path("a/out"));
  ExpectDenied(Path("a/out/f"));
  ExpectDenied("file-out");
  EXPECT_EQ(*Resolve(Path("a/across/only")), Path("b/only"));
}

TEST_F(DataDirsTest, AFolderGivenThroughALinkIsKnownByBothNames) {
  fs::create_directory_symlink(Path("a"), Path("link"));
  const auto dirs = DataDirs::Open(FileSystem::Posix(), {Path("link")}, "--data-dir");
  ASSERT_TRUE(dirs.ok()) << dirs.status();
  EXPECT_EQ(*dirs->Resolve("path", Path("link/f")), Path("a/f"));
  EXPECT_EQ(*dirs->Resolve("path", Path("a/f")), Path("a/f"));
}

TEST_F(DataDirsTest, WhatCantBeAPathIsInvalid) {
  for (const std::string& path : {std::string(), std::string("f\0", 2)}) {
    EXPECT_EQ(Resolve(path).status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(Resolve(std::string(10'000, 'a')).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(DataDirsTest, WithoutFoldersNothingIsAllowed) {
  const auto dirs = DataDirs::Open(FileSystem::Posix(), {}, "--data-dir");
  ASSERT_TRUE(dirs.ok()) << dirs.status();
  for (const std::string& path : {Path("a/f"), std::string("f")}) {
    const absl::Status status = dirs->Resolve("path", path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
    EXPECT_THAT(std::string(status.message()), HasSubstr("--data-dir allows (none)"));
  }
}

TEST_F(DataDirsTest, FoldersMustBeThere) {
  for (const char* path : {"none", "a/f"}) {
    const absl::Status status =
        DataDirs::Open(FileSystem::Posix(), {Path(path)}, "--data-dir").status();
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(std::string(status.message()), ::testing::StartsWith("--data-dir: "));
  }
}

}  // namespace
}  // namespace convd
