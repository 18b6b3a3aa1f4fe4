#include "client/dataset_upload.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "core/names/names.h"

namespace convd {
namespace {

std::string TempFile(const std::string& name, const std::string& data) {
  const std::string path = ::testing::TempDir() + "/dataset_upload_test_" + name;
  std::ofstream(path, std::ios::binary) << data;
  return path;
}

TEST(UploadIdTest, IsOfTheHeaderAndOfTheFilesNamesSizesAndTimes) {
  const std::string path = TempFile("id", "abc");
  v1::UploadHeader header;
  header.set_name("data");
  const auto set_time = [&](time_t seconds, long nanoseconds) {
    const timespec times[2] = {{seconds, nanoseconds}, {seconds, nanoseconds}};
    ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  };
  const auto id = [&](const std::string& name = "a") {
    return *UploadIdFor(header, {{name, path}});
  };
  set_time(1'700'000'000, 5);
  const std::string first = id();
  EXPECT_TRUE(CheckName("upload_id", first).ok()) << first;
  EXPECT_EQ(id(), first);
  EXPECT_NE(id("b"), first);
  EXPECT_NE(*UploadIdFor(header, {{"a", path}, {"b", path}}), first);
  set_time(1'700'000'000, 6);
  EXPECT_NE(id(), first);
  set_time(1'700'000'001, 5);
  EXPECT_NE(id(), first);
  TempFile("id", "abcd");
  set_time(1'700'000'000, 5);
  EXPECT_NE(id(), first);
  TempFile("id", "xyz");
  set_time(1'700'000'000, 5);
  EXPECT_EQ(id(), first);
  header.add_labels("l");
  EXPECT_NE(id(), first);
  EXPECT_EQ(UploadIdFor(header, {{"a", path + ".none"}}).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace convd
