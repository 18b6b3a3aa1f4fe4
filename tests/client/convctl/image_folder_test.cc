#include "client/convctl/image_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "client/convctl/exit_code.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ImageFolderTest : public ::testing::Test {
 protected:
  ImageFolderTest() {
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_ + "/b/deep");
  }
  ~ImageFolderTest() override { std::filesystem::remove_all(dir_); }
  void Write(const std::string& name) { std::ofstream(dir_ + "/" + name) << "x"; }

  const std::string dir_ = ::testing::TempDir() + "/image_folder_test";
};

TEST_F(ImageFolderTest, FindsImagesByNameInOrderAndSaysWhatItCanNotRead) {
  for (const char* name :
       {"b/2.JPG", "b/10.png", "b/deep/x.jpeg", "c.png", "a.txt", ".hidden.png", "B.png", "png"}) {
    Write(name);
  }
  std::filesystem::create_directory_symlink("..", dir_ + "/b/loop");
  std::filesystem::create_symlink("nowhere", dir_ + "/lost.png");
  std::filesystem::create_symlink("self", dir_ + "/self");
  ASSERT_EQ(mkfifo((dir_ + "/pipe.png").c_str(), 0600), 0);
  const auto found = FindImages(dir_);
  ASSERT_TRUE(found.ok()) << found.status();
  std::vector<std::string> names;
  for (const FolderImage& image : *found) {
    names.push_back(image.path.substr(dir_.size() + 1) + (image.error.empty() ? "" : "!"));
  }
  EXPECT_THAT(names, ElementsAre("B.png", "b/10.png", "b/2.JPG", "b/deep/x.jpeg", "b/loop!",
                                 "c.png", "lost.png!", "pipe.png!", "self!"));
  EXPECT_EQ((*found)[4].error, "is a link to a folder that it lies in");
  EXPECT_EQ((*found)[7].error, "is no regular file");
}

TEST_F(ImageFolderTest, NeedsAFolderWithImages) {
  for (const std::string& folder : {dir_, dir_ + "/none", dir_ + "/a.txt"}) {
    Write("a.txt");
    const absl::Status status = FindImages(folder).status();
    EXPECT_EQ(ExitCodeFor(status), kExitUsage) << status;
    EXPECT_THAT(status.message(), HasSubstr("--dir " + folder + ": "));
  }
}

}  // namespace
}  // namespace convd
