#include "core/data/pixel_statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace convd {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;

template <typename T>
ImageSet Images(const std::vector<T>& pixels, int64_t count, int height, int width, int channels) {
  ImageSet images;
  images.count = count;
  images.height = height;
  images.width = width;
  images.channels = channels;
  images.type = sizeof(T) == 1 ? ElementType::kUint8 : ElementType::kFloat32;
  images.pixels = pixels.data();
  EXPECT_EQ(static_cast<int64_t>(pixels.size()), count * images.image_elements());
  return images;
}

// (37 n + 11 h + 5 w + 3 c) mod 251, as make_samples.py has them.
template <typename T>
std::vector<T> Pixels(int64_t count, int height, int width, int channels) {
  std::vector<T> pixels;
  for (int n = 0; n < count; ++n) {
    for (int h = 0; h < height; ++h) {
      for (int w = 0; w < width; ++w) {
        for (int c = 0; c < channels; ++c) {
          pixels.push_back(static_cast<T>((37 * n + 11 * h + 5 * w + 3 * c) % 251));
        }
      }
    }
  }
  return pixels;
}

// The figures are numpy's, of the same 40 images of 5 x 7 with three channels.
TEST(PixelStatisticsTest, AreThoseOfNumpyForBytesAndFloats) {
  const auto bytes = Pixels<uint8_t>(40, 5, 7, 3);
  const auto floats = Pixels<float>(40, 5, 7, 3);
  for (const PixelStatistics& pixels :
       {MeasurePixels(Images(bytes, 40, 5, 7, 3)), MeasurePixels(Images(floats, 40, 5, 7, 3))}) {
    EXPECT_THAT(pixels.mean, ElementsAre(DoubleNear(125.26285714285714, 1e-10),
                                         DoubleNear(125.57357142857143, 1e-10),
                                         DoubleNear(125.88428571428571, 1e-10)));
    EXPECT_THAT(pixels.deviation, ElementsAre(DoubleNear(71.59437961067012, 1e-10),
                                              DoubleNear(71.61259078314002, 1e-10),
                                              DoubleNear(71.63745655474276, 1e-10)));
    EXPECT_THAT(pixels.border_mean,
                ElementsAre(DoubleNear(125.03875, 1e-10), DoubleNear(125.215, 1e-10),
                            DoubleNear(125.39125, 1e-10)));
  }
}

TEST(PixelStatisticsTest, ALargeOffsetCostsNoDigits) {
  // Squares of these values differ in their last digits alone, where a double has them at all.
  const std::vector<float> pixels = {1e8f, 1e8f + 8, 1e8f + 16, 1e8f + 24};
  const PixelStatistics one = MeasurePixels(Images(pixels, 1, 2, 2, 1));
  const PixelStatistics four = MeasurePixels(Images(pixels, 4, 1, 1, 1));
  EXPECT_THAT(one.deviation, ElementsAre(DoubleNear(8.94427190999916, 1e-12)));
  EXPECT_THAT(four.deviation, ElementsAre(DoubleNear(8.94427190999916, 1e-12)));
}

TEST(PixelStatisticsTest, NarrowImagesAreAllBorder) {
  const std::vector<uint8_t> column = {1, 2, 3, 4};
  EXPECT_THAT(MeasurePixels(Images(column, 1, 4, 1, 1)).border_mean, ElementsAre(2.5));
  EXPECT_THAT(MeasurePixels(Images(column, 1, 1, 4, 1)).border_mean, ElementsAre(2.5));
  EXPECT_THAT(MeasurePixels(Images(column, 1, 2, 2, 1)).border_mean, ElementsAre(2.5));
  EXPECT_THAT(MeasurePixels(Images(column, 4, 1, 1, 1)).border_mean, ElementsAre(2.5));
}

TEST(PixelStatisticsTest, TheInsideIsNoBorder) {
  std::vector<uint8_t> frame(25, 200);
  for (int row = 1; row < 4; ++row) {
    for (int column = 1; column < 4; ++column) frame[row * 5 + column] = 10;
  }
  EXPECT_THAT(MeasurePixels(Images(frame, 1, 5, 5, 1)).border_mean, ElementsAre(200));
}

}  // namespace
}  // namespace convd
