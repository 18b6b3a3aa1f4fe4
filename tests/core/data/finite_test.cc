#include "core/data/finite.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace convd {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Around the number of values that are looked at together.
TEST(FirstNonFiniteTest, FindsTheFirstWhereverItLies) {
  for (size_t size : {0, 1, 63, 64, 65, 127, 128, 200}) {
    std::vector<float> values(size, std::numeric_limits<float>::max());
    EXPECT_EQ(FirstNonFinite(values), size);
    for (size_t i = size; i-- > 0;) {
      values[i] = i % 3 == 0 ? kNan : i % 3 == 1 ? kInfinity : -kInfinity;
      EXPECT_EQ(FirstNonFinite(values), i) << "of " << size;
    }
  }
}

TEST(FirstNonFiniteTest, TakesTheLargestTheSmallestAndTheSubnormal) {
  using Limits = std::numeric_limits<float>;
  EXPECT_EQ(FirstNonFinite({Limits::max(), Limits::lowest(), Limits::min(), Limits::denorm_min(),
                            -Limits::denorm_min(), 0.0f, -0.0f}),
            7u);
}

TEST(CheckFiniteTest, NamesTheElementByImageRowColumnAndChannel) {
  std::vector<float> pixels(2 * 3 * 4 * 2);  // two images of 3 x 4 with 2 channels
  const ImageSet images{2, 3, 4, 2, ElementType::kFloat32, pixels.data(), {}, nullptr};
  EXPECT_TRUE(CheckFinite("pixels", images).ok());
  pixels[24 + 2 * 8 + 1 * 2 + 1] = -kInfinity;
  EXPECT_EQ(CheckFinite("pixels", images, 10),
            absl::InvalidArgumentError(
                "pixels: image 11, row 2, column 1, channel 1 is -inf; want finite values"));
}

TEST(CheckFiniteTest, BytesAreAlwaysFinite) {
  const std::vector<uint8_t> pixels(16, 0xff);  // NaNs, were they floats
  const ImageSet images{1, 4, 4, 1, ElementType::kUint8, pixels.data(), {}, nullptr};
  EXPECT_TRUE(CheckFinite("pixels", images).ok());
}

}  // namespace
}  // namespace convd
