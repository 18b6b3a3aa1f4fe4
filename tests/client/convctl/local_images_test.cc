#include "client/convctl/local_images.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "client/convctl/exit_code.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LocalImagesTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(dir_); }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string Write(const std::string& name, const std::string& data) {
    std::ofstream(dir_ + "/" + name, std::ios::binary) << data;
    return dir_ + "/" + name;
  }
  // Three images of 1 x 2 pixels, by hand after the format's description.
  std::string Images() {
    return Write("images", std::string("\0\0\x08\x03\0\0\0\x03\0\0\0\x01\0\0\0\x02"
                                       "\x01\x02\x03\x04\x05\x06",
                                       22));
  }
  std::string Labels() {
    return Write("labels", std::string("\0\0\x08\x01\0\0\0\x03\x07\x08\x09", 11));
  }

  void ExpectUsageError(const absl::Status& status, const std::string& words) {
    EXPECT_EQ(ExitCodeFor(status), kExitUsage) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  }

  const std::string dir_ = ::testing::TempDir() + "/local_images_test";
};

TEST_F(LocalImagesTest, TakesTheChosenImagesInTheirOrder) {
  const auto images = ReadChosenImages(Images(), Labels(), {2, 0, 2});
  ASSERT_TRUE(images.ok()) << images.status();
  EXPECT_EQ(images->count, 3);
  EXPECT_THAT(images->labels, ElementsAre(9, 7, 9));
  const v1::Images request = RawImagesOf(*images);
  EXPECT_EQ(request.uint8().data(), "\x05\x06\x01\x02\x05\x06");
  EXPECT_EQ(request.uint8().count(), 3);
  EXPECT_EQ(request.uint8().height(), 1);
  EXPECT_EQ(request.uint8().width(), 2);
  EXPECT_EQ(request.uint8().channels(), 1);
}

TEST_F(LocalImagesTest, LabelsAreNotNeeded) {
  const auto images = ReadChosenImages(Images(), "", {1});
  ASSERT_TRUE(images.ok()) << images.status();
  EXPECT_TRUE(images->labels.empty());
}

TEST_F(LocalImagesTest, ACifarBatchBringsItsOwnLabels) {
  const std::string path =
      Write("batch.bin", std::string(3073, '\x03') + std::string(3073, '\x04'));
  const auto images = ReadChosenImages(path, "", {1});
  ASSERT_TRUE(images.ok()) << images.status();
  EXPECT_THAT(images->labels, ElementsAre(4));
  EXPECT_EQ(images->channels, 3);
  ExpectUsageError(ReadChosenImages(path, Labels(), {1}).status(), "--labels");
}

// make_samples.py says what is in these.
TEST_F(LocalImagesTest, ACifar100FileBringsItsFineLabels) {
  const auto images =
      ReadChosenImages(CONVD_SOURCE_DIR "/tests/core/data/samples/cifar100.bin", "", {2, 0});
  ASSERT_TRUE(images.ok()) << images.status();
  EXPECT_THAT(images->labels, ElementsAre(42, 99));
}

TEST_F(LocalImagesTest, OfAnNpzWithSplitsTheTestImagesAreTaken) {
  const auto images =
      ReadChosenImages(CONVD_SOURCE_DIR "/tests/core/data/samples/keras.npz", "", {1, 0});
  ASSERT_TRUE(images.ok()) << images.status();
  EXPECT_THAT(images->labels, ElementsAre(5, 8));
}

TEST_F(LocalImagesTest, WhatIsWrongWithAFileIsAUsageError) {
  ExpectUsageError(ReadChosenImages(Images(), "", {3}).status(), "3 images, from 0 to 2");
  ExpectUsageError(ReadChosenImages(Images(), "", {-1}).status(), "-1");
  ExpectUsageError(ReadChosenImages(dir_ + "/none", "", {0}).status(), dir_ + "/none");
  ExpectUsageError(ReadChosenImages(Images(), dir_ + "/none", {0}).status(), dir_ + "/none");
  ExpectUsageError(ReadChosenImages(Write("page", "<html></html>"), "", {0}).status(), "page");
  ExpectUsageError(ReadChosenImages(Write("empty", ""), "", {0}).status(), "empty");
  ExpectUsageError(DecodeImageFile("no image", "x.png", {28, 28, 1}).status(), "x.png");
  // A shape that no server should name.
  for (const ImageConversion& to : {ImageConversion{0, 28, 1}, ImageConversion{28, -28, 1},
                                    ImageConversion{1 << 30, 1 << 30, 1}}) {
    ExpectUsageError(DecodeImageFile("no image", "x.png", to).status(), "x.png");
  }
}

// make_image_samples.py says what is in these.
TEST_F(LocalImagesTest, AFileIsDrawnAsTheModelSeesIt) {
  const std::string samples = CONVD_SOURCE_DIR "/tests/core/data/samples/images/";
  const auto read = [&](const std::string& name) {
    std::ifstream file(samples + name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const auto image = DecodeImageFile(read("whole.png"), "whole.png", {28, 28, 1, /*invert=*/true});
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(std::string(image->image(0), image->image_bytes()), read("whole_grey.raw"));
}

TEST_F(LocalImagesTest, FloatPixelsAreRoundedAndBoundedForDrawing) {
  const float pixels[] = {-1, 0.4f, 0.6f, 300, std::nanf(""), 255};
  ImageSet images;
  images.count = 1;
  images.height = 1;
  images.width = 6;
  images.channels = 1;
  images.type = ElementType::kFloat32;
  images.pixels = pixels;
  std::vector<uint8_t> buffer;
  EXPECT_THAT(Drawable(images, 0, buffer).pixels, ElementsAre(0, 0, 1, 255, 0, 255));
}

}  // namespace
}  // namespace convd
