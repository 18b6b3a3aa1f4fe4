#include "core/data/file_bytes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace convd {
namespace {

using ::testing::HasSubstr;

class FileBytesTest : public ::testing::Test {
 protected:
  void SetUp() override { std::ofstream(path_, std::ios::binary) << "0123456789"; }
  void TearDown() override { std::filesystem::remove(path_); }

  FileSystem& fs_ = FileSystem::Posix();
  const std::string path_ = ::testing::TempDir() + "/file_bytes_test";
};

TEST_F(FileBytesTest, AreTheFilesEitherWay) {
  EXPECT_EQ(FileBytes::Map(fs_, path_, "f", {})->view(), "0123456789");
  EXPECT_EQ(FileBytes::Copy(fs_, path_, "f", {})->view(), "0123456789");
}

TEST_F(FileBytesTest, ACopyStaysAsItWas) {
  const auto copy = FileBytes::Copy(fs_, path_, "f", {});
  ASSERT_TRUE(copy.ok()) << copy.status();
  std::filesystem::resize_file(path_, 0);
  EXPECT_EQ(copy->view(), "0123456789");
}

TEST_F(FileBytesTest, AreBounded) {
  DataLimits limits;
  limits.file_bytes = 9;
  for (const absl::Status& status : {FileBytes::Map(fs_, path_, "f", limits).status(),
                                     FileBytes::Copy(fs_, path_, "f", limits).status()}) {
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("f: has 10 bytes; the limit is 9"));
  }
}

}  // namespace
}  // namespace convd
