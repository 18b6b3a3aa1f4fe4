#include "core/data/image_resize.h"

#include "core/data/image_decode.h"
#include "tests/core/data/samples.h"

namespace convd {
namespace {

// As in make_image_samples.py: height and width.
constexpr std::pair<int, int> kSizes[] = {{28, 28}, {32, 32}, {7, 5},   {1, 1}, {1, 50},
                                          {50, 1},  {23, 15}, {40, 31}, {64, 3}};

PixelView View(const ImageSet& image) {
  return {static_cast<const uint8_t*>(image.pixels),
          ptrdiff_t{image.width} * image.channels,
          image.channels,
          image.height,
          image.width,
          image.channels};
}

std::string Resized(const PixelView& from, int height, int width) {
  std::string to(size_t{1} * height * width * from.channels, '\0');
  const absl::Status status =
      ResizeImage(from, height, width, reinterpret_cast<uint8_t*>(to.data()), "f");
  EXPECT_TRUE(status.ok()) << status;
  return to;
}

// Tolerance: none.
TEST(ImageResizeTest, EveryRatioGivesThePixelsThatPillowGives) {
  for (const std::string name : {"rgb", "grey", "row", "column", "dot", "waves", "extremes"}) {
    const auto image = DecodeImage(Sample("images/resize_" + name + ".png"), name);
    ASSERT_TRUE(image.ok()) << image.status();
    const std::string want = Sample("images/resize_" + name + ".raw");
    size_t at = 0;
    for (const auto& [height, width] : kSizes) {
      const std::string got = Resized(View(*image), height, width);
      EXPECT_TRUE(got == want.substr(at, got.size())) << name << " " << height << "x" << width;
      at += got.size();
    }
    EXPECT_EQ(at, want.size());
  }
}

TEST(ImageResizeTest, AnImageOfThatSizeIsCopied) {
  const auto image = DecodeImage(Sample("images/resize_rgb.png"), "f");
  ASSERT_TRUE(image.ok());
  const std::string got = Resized(View(*image), image->height, image->width);
  EXPECT_TRUE(got == std::string(image->image(0), got.size()));
}

TEST(ImageResizeTest, AViewIsResizedAsTheImageThatItShows) {
  const auto image = DecodeImage(Sample("images/resize_rgb.png"), "f");
  ASSERT_TRUE(image.ok());
  // Turned by 180 degrees, and its sides swapped.
  PixelView turned = View(*image);
  turned.first += (image->height - 1) * turned.row_step + (image->width - 1) * turned.column_step;
  turned = {turned.first, -turned.column_step, -turned.row_step, turned.width, turned.height, 3};
  const std::string copy = Resized(turned, turned.height, turned.width);
  const PixelView same = {reinterpret_cast<const uint8_t*>(copy.data()),
                          ptrdiff_t{3} * turned.width,
                          3,
                          turned.height,
                          turned.width,
                          3};
  for (const auto& [height, width] : kSizes) {
    EXPECT_TRUE(Resized(turned, height, width) == Resized(same, height, width)) << height;
  }
  EXPECT_EQ(copy.front(), image->image(0)[image->image_bytes() - 3]);
}

TEST(ImageResizeTest, WhatIsEvenStaysSo) {
  // The longest side to one pixel and back, where weights are smallest.
  for (const int value : {0, 1, 100, 254, 255}) {
    const std::string line(kMaxResizedSide, static_cast<char>(value));
    const auto* const first = reinterpret_cast<const uint8_t*>(line.data());
    const PixelView row = {first, kMaxResizedSide, 1, 1, kMaxResizedSide, 1};
    const PixelView column = {first, 1, 1, kMaxResizedSide, 1, 1};
    for (const PixelView& from : {row, column}) {
      for (const auto& [height, width] : {std::pair{1, 1}, {3, 5}}) {
        for (const char got : Resized(from, height, width)) {
          ASSERT_NEAR(static_cast<unsigned char>(got), value, 1);
        }
      }
    }
  }
}

}  // namespace
}  // namespace convd
