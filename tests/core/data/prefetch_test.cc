#include "core/data/prefetch.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "absl/time/clock.h"
#include "core/storage/file_system.h"

namespace convd {
namespace {

// Images of 16 KiB, whole pages, in a file that nobody has read.
class PrefetchTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::ofstream(path_, std::ios::binary).put('x');
    std::filesystem::resize_file(path_, kLargeImagesBytes);
    auto mapped = FileSystem::Posix().Map(path_);
    ASSERT_TRUE(mapped.ok()) << mapped.status();
    file_ = *std::move(mapped);
    images_.height = images_.width = 128;
    images_.channels = 1;
    images_.count = kLargeImagesBytes / images_.image_bytes();
    images_.pixels = file_->data().data();
    AdviseRandomReads(images_);
  }
  void TearDown() override { std::filesystem::remove(path_); }

  bool InMemory(int64_t image) const {
    unsigned char pages[16] = {};
    EXPECT_EQ(mincore(const_cast<char*>(images_.image(image)),
                      static_cast<size_t>(images_.image_bytes()), pages),
              0);
    for (int64_t p = 0; p < images_.image_bytes() / getpagesize(); ++p) {
      if ((pages[p] & 1) == 0) return false;
    }
    return true;
  }
  bool ComesIntoMemory(int64_t image) const {
    const absl::Time end = absl::Now() + absl::Seconds(60);
    while (!InMemory(image) && absl::Now() < end) sched_yield();
    return InMemory(image);
  }

  const std::string path_ = ::testing::TempDir() + "/prefetch_test";
  std::unique_ptr<MappedFile> file_;
  ImageSet images_;
};

TEST_F(PrefetchTest, ImagesAreReadAheadAndNoOthers) {
  EXPECT_FALSE(InMemory(1000));
  PrefetchImages(images_, {1000, 7000});
  EXPECT_TRUE(ComesIntoMemory(1000));
  EXPECT_TRUE(ComesIntoMemory(7000));
  PrefetchImages(images_, images_.count - 2, 16);
  EXPECT_TRUE(ComesIntoMemory(images_.count - 2));
  EXPECT_TRUE(ComesIntoMemory(images_.count - 1));
  EXPECT_FALSE(InMemory(1001));
  EXPECT_FALSE(InMemory(3000));
}

TEST_F(PrefetchTest, SetsThatStayInMemoryAreLeftAlone) {
  PrefetchImages(images_.Slice(0, images_.count - 1), {2000});
  PrefetchImages(images_.Slice(0, images_.count - 1), 2000, 1);
  EXPECT_FALSE(InMemory(2000));
}

}  // namespace
}  // namespace convd
