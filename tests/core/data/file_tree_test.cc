#include "core/data/file_tree.h"

#include <filesystem>

#include "core/data/gzip.h"
#include "tests/core/data/samples.h"

namespace convd {
namespace {

using ::testing::ElementsAre;

// An archive that make_archives.py wrote, unpacked once where it is a gzip file.
std::string Archive(const std::string& name) {
  const std::string bytes = Sample("archives/" + name);
  const auto plain = InflateIfGzip(bytes, name, 64 << 20);
  EXPECT_TRUE(plain.ok()) << plain.status();
  return std::string(plain->view);
}

// The paths in an archive, or why there are none.
absl::StatusOr<std::vector<std::string>> Paths(const std::string& name,
                                               const DataLimits& limits = {}) {
  const std::string bytes = Archive(name);
  const auto tree = OpenArchiveTree(bytes, name, limits);
  if (!tree.ok()) return tree.status();
  for (size_t i = 0; i < (*tree)->paths().size(); ++i) {
    const absl::Status read = (*tree)->Read(i, [](std::string_view) { return absl::OkStatus(); });
    if (!read.ok()) return read;
  }
  return (*tree)->paths();
}

TEST(FileTreeTest, AnArchivesFilesComeInByteOrderWithoutWhatIsHidden) {
  for (const char* name : {"classes.zip", "classes.tar.gz"}) {
    const auto paths = Paths(name);
    ASSERT_TRUE(paths.ok()) << paths.status();
    EXPECT_THAT(*paths, ElementsAre("cat/a10.png", "cat/a2.png", "cat/b.jpg", "dog/x.PNG",
                                    "\xc3\xa9l\xc3\xa9phant/y.png"))
        << name;
  }
}

TEST(FileTreeTest, EveryFormatHoldsTheBytesOfTheFolder) {
  const std::string folder = CONVD_SOURCE_DIR "/tests/core/data/samples/archives/classes/";
  for (const char* name : {"classes.zip", "classes_stored.zip", "classes.tar.gz",
                           "classes_pax.tar.gz", "ascii_ustar.tar"}) {
    const std::string bytes = Archive(name);
    const auto tree = OpenArchiveTree(bytes, name, {});
    ASSERT_TRUE(tree.ok()) << tree.status();
    for (size_t i = 0; i < (*tree)->paths().size(); ++i) {
      std::string path = (*tree)->paths()[i];
      if (path.substr(0, 8) == "wrapper/") path = path.substr(8);
      const std::string want = ReadWhole(folder + path);
      ASSERT_FALSE(want.empty());
      const absl::Status read = (*tree)->Read(i, [&](std::string_view got) {
        EXPECT_EQ(got, want) << name << " " << path;
        return absl::OkStatus();
      });
      EXPECT_TRUE(read.ok()) << read;
    }
  }
}

TEST(FileTreeTest, WhatUsesTheBytesMayFail) {
  const std::string bytes = Archive("classes.zip");
  const auto tree = OpenArchiveTree(bytes, "f", {});
  ASSERT_TRUE(tree.ok());
  EXPECT_EQ((*tree)->Read(0, [](std::string_view) { return absl::AbortedError("enough"); }),
            absl::AbortedError("enough"));
}

TEST(FileTreeTest, MembersThatArentPlainFilesInsideAreRefusedByName) {
  const std::pair<const char*, const char*> cases[] = {
      {"parent", "/cat/../../b.png: want a path without \"..\""},
      {"absolute", "//cat/b.png: want a relative path"},
      {"control", "/cat/b\\n.png: want a name without control characters"},
      {"twice", "/cat/a.png: is in the archive twice"},
      {"symlink", "/cat/link.png: is a symbolic link; want plain files"},
      {"device", "/cat/device.png: is a device"},
      {"pipe", "/cat/pipe.png: is a "},
  };
  for (const auto& [reason, words] : cases) {
    for (const char* kind : {".zip", ".tar.gz"}) {
      const std::string name = std::string("refused_") + reason + kind;
      ExpectInvalid(Paths(name).status(), name + words);
    }
  }
  ExpectInvalid(Paths("refused_hardlink.tar.gz").status(), "/cat/link.png: is a hard link");
  ExpectInvalid(Paths("refused_encrypted.zip").status(), "/cat/a.png: is encrypted");
}

TEST(FileTreeTest, ATarWithoutItsEndOrWithSomethingAfterItIsRefused) {
  ExpectInvalid(Paths("refused_no_end.tar.gz").status(),
                "the block of zeros that ends an archive is missing");
  ExpectInvalid(Paths("refused_followed.tar.gz").status(),
                "something follows the tar archive's end");
}

TEST(FileTreeTest, SizesAndCountsAreBoundedBeforeAnythingIsUnpacked) {
  for (const char* name : {"refused_bomb.zip", "refused_bomb.tar.gz"}) {
    DataLimits limits;
    EXPECT_TRUE(Paths(name, limits).ok());
    limits.decompressed_bytes = 1 << 20;
    ExpectError(Paths(name, limits).status(), absl::StatusCode::kInvalidArgument,
                std::string(name) + "/cat/b.png: with it the archive unpacks to more than");
    limits.file_bytes = 1 << 20;
    ExpectError(Paths(name, limits).status(), absl::StatusCode::kInvalidArgument,
                "/cat/b.png: has 31");
    limits = {};
    limits.image_files = 1;
    ExpectError(Paths(name, limits).status(), absl::StatusCode::kInvalidArgument,
                std::string(name) + ": has more than 1 files");
  }
}

TEST(FileTreeTest, AnArchiveOfFilesIsTold) {
  EXPECT_TRUE(IsFileArchive(Archive("classes.zip")));
  EXPECT_TRUE(IsFileArchive(Archive("ascii_ustar.tar")));
  EXPECT_FALSE(IsFileArchive(Sample("u8.npz")));
  EXPECT_FALSE(IsFileArchive(Sample("archives/classes.tar.gz"))) << "not unpacked";
  EXPECT_FALSE(IsFileArchive(""));
}

class ListTreeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = ::testing::TempDir() + "/file_tree_test.XXXXXX";
    ASSERT_NE(mkdtemp(root_.data()), nullptr);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void Put(const std::string& name) {
    const std::string path = root_ + "/" + name;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path) << name;
  }
  absl::StatusOr<std::vector<std::string>> List(int depth = 3, const DataLimits& limits = {},
                                                const ResolvePath& resolve = TakeAnyPath) {
    const auto files = ListTree(FileSystem::Posix(), root_, "here", depth, resolve, limits);
    if (!files.ok()) return files.status();
    std::vector<std::string> within;
    for (const TreeFile& file : *files) within.push_back(file.within);
    return within;
  }

  std::string root_;
};

TEST_F(ListTreeTest, ListsInByteOrderOfWholePaths) {
  for (const char* name : {"b/1", "a/1", "a-b", "c", ".hidden/x", "a/.hidden", "b/Thumbs.db"}) {
    Put(name);
  }
  std::filesystem::create_directory(root_ + "/empty");
  EXPECT_THAT(*List(), ElementsAre("a-b", "a/1", "b/1", "c"));
}

TEST_F(ListTreeTest, IsBoundedInDepthAndCount) {
  Put("a/b/c/d");
  EXPECT_TRUE(List(3).ok());
  ExpectInvalid(List(2).status(), "a/b/c: is a folder too deep");
  std::filesystem::create_directory_symlink(root_, root_ + "/a/loop");
  ExpectInvalid(List().status(), "too deep");
  std::filesystem::remove(root_ + "/a/loop");
  Put("x");
  DataLimits limits;
  limits.image_files = 1;
  ExpectError(List(3, limits).status(), absl::StatusCode::kInvalidArgument,
              "here: has more than 1 files");
}

TEST_F(ListTreeTest, WhatMayNotBeLookedAtIsAskedFirst) {
  Put("a/b");
  std::vector<std::string> asked;
  const auto refuse = [&](const std::string& shown, const std::string&) {
    asked.push_back(shown);
    return absl::StatusOr<std::string>(absl::PermissionDeniedError(shown));
  };
  EXPECT_EQ(List(3, {}, refuse).status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(asked, ElementsAre("a"));
}

}  // namespace
}  // namespace convd
