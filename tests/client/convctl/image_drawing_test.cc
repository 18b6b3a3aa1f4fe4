#include "client/convctl/image_drawing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

PixelImage Image(int height, int width, int channels, const std::vector<uint8_t>& pixels) {
  return {height, width, channels, absl::MakeConstSpan(pixels)};
}

constexpr Terminal kPlain = {};
constexpr Terminal kTrueColor = {true, Colors::kTrueColor, true};
constexpr Terminal k256 = {true, Colors::k256, true};

TEST(ImageDrawingTest, InkGrowsWithTheMeanOfTwoRows) {
  const std::vector<uint8_t> pixels = {0, 255, 255,  //
                                       0, 255, 0,    //
                                       0, 255, 128};
  const TextBlock block = DrawImage(Image(3, 3, 1, pixels), 80, kPlain);
  EXPECT_EQ(block.width, 3);
  // Means 0, 255 and 127; then the odd row by itself: 0, 255, 128.
  EXPECT_THAT(block.lines, ElementsAre(" @=", " @+"));
}

TEST(ImageDrawingTest, HalfBlocksCarryTwoRowsInTrueColor) {
  const std::vector<uint8_t> pixels = {1, 2, 3, 4, 5, 6};
  const TextBlock block = DrawImage(Image(2, 1, 3, pixels), 80, kTrueColor);
  EXPECT_THAT(block.lines, ElementsAre("\x1b[38;2;1;2;3m\x1b[48;2;4;5;6m▀\x1b[0m"));
}

TEST(ImageDrawingTest, EqualNeighboursShareTheirColorCodes) {
  const std::vector<uint8_t> pixels = {9, 9, 9, 9};
  const TextBlock block = DrawImage(Image(2, 2, 1, pixels), 80, kTrueColor);
  EXPECT_THAT(block.lines, ElementsAre("\x1b[38;2;9;9;9m\x1b[48;2;9;9;9m▀▀\x1b[0m"));
}

TEST(ImageDrawingTest, PaletteColorsAreXterms) {
  // Black and white are the cube's corners, pure red is 196, middle grey lies on the ramp (244 is
  // 808080).
  const std::vector<uint8_t> pixels = {0, 0, 0, 255, 255, 255, 255, 0, 0, 128, 128, 128};
  const TextBlock block = DrawImage(Image(1, 4, 3, pixels), 80, k256);
  EXPECT_THAT(block.lines,
              ElementsAre("\x1b[38;5;16m\x1b[49m▀\x1b[38;5;231m\x1b[49m▀\x1b[38;5;196m\x1b[49m▀"
                          "\x1b[38;5;244m\x1b[49m▀\x1b[0m"));
}

TEST(ImageDrawingTest, AWideImageIsMadeSmaller) {
  std::vector<uint8_t> pixels(4 * 8, 0);
  for (int y = 0; y < 4; ++y) {
    for (int x = 4; x < 8; ++x) pixels[y * 8 + x] = 255;
  }
  const TextBlock block = DrawImage(Image(4, 8, 1, pixels), 4, kPlain);
  EXPECT_EQ(block.width, 4);
  EXPECT_THAT(block.lines, ElementsAre("  @@"));
}

TEST(ImageDrawingTest, WhatIsNoImageDrawsNothing) {
  const std::vector<uint8_t> pixels(4);
  EXPECT_THAT(DrawImage(Image(0, 4, 1, pixels), 80, kPlain).lines, IsEmpty());
  EXPECT_THAT(DrawImage(Image(2, 2, 2, pixels), 80, kPlain).lines, IsEmpty());
  EXPECT_THAT(DrawImage(Image(2, 3, 1, pixels), 80, kPlain).lines, IsEmpty());
  EXPECT_THAT(DrawImage(Image(2147483647, 2147483647, 3, pixels), 80, kPlain).lines, IsEmpty());
  EXPECT_THAT(DrawImage(Image(2, 2, 1, pixels), 0, kPlain).lines, IsEmpty());
}

TEST(ImageDrawingTest, BlocksStandBesideEachOtherCentred) {
  const TextBlock all = Beside({{1, {"a", "b", "c"}}, {2, {"xy"}}}, 1);
  EXPECT_EQ(all.width, 4);
  EXPECT_THAT(all.lines, ElementsAre("a   ", "b xy", "c   "));
}

}  // namespace
}  // namespace convd
