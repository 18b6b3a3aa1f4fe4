#include "client/convctl/local_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "client/convctl/exit_code.h"
#include "client/convctl/split_files.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LocalFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_ + "/folder");
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string Write(const std::string& name, const std::string& data) {
    std::ofstream(dir_ + "/" + name, std::ios::binary) << data;
    return dir_ + "/" + name;
  }

  const std::string dir_ = ::testing::TempDir() + "/local_file_test";
};

TEST_F(LocalFileTest, ReadsUpToTheLimit) {
  const std::string path = Write("a", std::string("x\0y", 3));
  EXPECT_EQ(ReadLocalFile(path, 3).value(), std::string("x\0y", 3));
  EXPECT_EQ(ExitCodeFor(ReadLocalFile(path, 2).status()), kExitUsage);
  EXPECT_EQ(ExitCodeFor(ReadLocalFile(dir_, 9).status()), kExitUsage);
  EXPECT_EQ(ExitCodeFor(ReadLocalFile(dir_ + "/none", 9).status()), kExitUsage);
}

TEST_F(LocalFileTest, AnEndlessFileIsCutOffAtTheLimit) {
  EXPECT_EQ(ExitCodeFor(ReadLocalFile("/dev/zero", 1 << 20).status()), kExitUsage);
}

TEST_F(LocalFileTest, AFolderStandsForItsPlainFilesByName) {
  Write("b", "");
  Write("a", "");
  Write(".hidden", "");
  const auto files = FilesToUpload({dir_});
  ASSERT_TRUE(files.ok()) << files.status();
  ASSERT_EQ(files->size(), 2u);
  EXPECT_EQ((*files)[0].name, "a");
  EXPECT_EQ((*files)[1].name, "b");
  EXPECT_EQ((*files)[1].path, dir_ + "/b");
}

// A pipe would wait for ever, a device never end.
TEST_F(LocalFileTest, UploadsRegularFilesOnly) {
  const std::string pipe = dir_ + "/pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  for (const std::string& path : {pipe, std::string("/dev/zero")}) {
    const absl::Status status = FilesToUpload({path}).status();
    EXPECT_EQ(ExitCodeFor(status), kExitUsage);
    EXPECT_EQ(status.message(), path + ": is not a regular file");
  }
}

TEST_F(LocalFileTest, RefusesWhatCannotBeUploaded) {
  EXPECT_EQ(ExitCodeFor(FilesToUpload({dir_ + "/none"}).status()), kExitUsage);
  EXPECT_EQ(ExitCodeFor(FilesToUpload({dir_ + "/folder"}).status()), kExitUsage);
  EXPECT_THAT(std::string(FilesToUpload({dir_}).status().message()),
              HasSubstr("holds folders and no files; zip it"));
  const auto twice = FilesToUpload({Write("a", ""), Write("folder/a", "")});
  EXPECT_THAT(std::string(twice.status().message()), HasSubstr("same name"));
}

TEST(SplitFilesTest, GathersFilesBySplit) {
  const auto splits = BuildSplitFiles({"a", "test=b", "train=c"}, {"d", "test=e"});
  ASSERT_TRUE(splits.ok()) << splits.status();
  ASSERT_EQ(splits->size(), 2u);
  EXPECT_EQ((*splits)[0].split(), "train");
  EXPECT_THAT((*splits)[0].images(), ElementsAre("a", "c"));
  EXPECT_THAT((*splits)[0].labels(), ElementsAre("d"));
  EXPECT_EQ((*splits)[1].split(), "test");
  EXPECT_THAT((*splits)[1].images(), ElementsAre("b"));
  EXPECT_THAT((*splits)[1].labels(), ElementsAre("e"));
}

TEST(SplitFilesTest, RefusesHalfASplit) {
  EXPECT_EQ(ExitCodeFor(BuildSplitFiles({}, {"test=e"}).status()), kExitUsage);
  EXPECT_EQ(ExitCodeFor(BuildSplitFiles({"=a"}, {}).status()), kExitUsage);
  EXPECT_EQ(ExitCodeFor(BuildSplitFiles({"test="}, {}).status()), kExitUsage);
}

}  // namespace
}  // namespace convd
