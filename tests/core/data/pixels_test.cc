#include "core/data/pixels.h"

#include "tests/core/data/samples.h"

namespace convd {
namespace {

using ::testing::ElementsAre;

// One image of 1 x 3 with one channel.
constexpr PixelLayout kRow{{1, 1, 3, 1}, {3, 3, 1, 1}};

TEST(PixelsTest, TheTypeAloneSaysWhatPixelsAre) {
  for (const NumberType type : {NumberType{'b', 1}, NumberType{'u', 1}, NumberType{'i', 8}}) {
    EXPECT_EQ(*PixelType("f", type), ElementType::kUint8) << type.Text();
  }
  for (const int bytes : {2, 4, 8}) {
    EXPECT_EQ(*PixelType("f", {'f', bytes}), ElementType::kFloat32) << bytes;
  }
  ExpectInvalid(PixelType("f", {'c', 8}).status(), "f: has pixels of type complex64; want bool");
}

TEST(PixelsTest, BoolIsBlackAndWhite) {
  const auto pixels = ConvertPixels("f", {'b', 1}, "\x01\x00\x02", kRow, {});
  ASSERT_TRUE(pixels.ok()) << pixels.status();
  EXPECT_THAT(pixels->span(), ElementsAre('\xff', '\0', '\xff'));
}

TEST(PixelsTest, IntegersAreBytesFromZeroToAllOnes) {
  const auto pixels = ConvertPixels("f", {'i', 2, true}, "\x00\x00\x00\xff\x00\x80", kRow, {});
  ASSERT_TRUE(pixels.ok()) << pixels.status();
  EXPECT_THAT(pixels->span(), ElementsAre('\0', '\xff', '\x80'));
  ExpectInvalid(ConvertPixels("f", {'i', 2, true}, "\x00\x00\x00\xff\x01\x00", kRow, {}).status(),
                "f: image 0, row 0, column 2, channel 0 is 256 (int16); want integers of 0 to 255");
  ExpectInvalid(ConvertPixels("f", {'i', 1}, "\x01\xff\x02", kRow, {}).status(),
                "column 1, channel 0 is -1 (int8)");
}

TEST(PixelsTest, ElementsAreTakenByTheirStrides) {
  // Three planes of two pixels, as channels last.
  constexpr PixelLayout kPlanes{{1, 1, 2, 3}, {6, 2, 1, 2}};
  EXPECT_FALSE(kPlanes.contiguous());
  EXPECT_TRUE(kRow.contiguous());
  const auto pixels = ConvertPixels("f", {'u', 1}, "rRgGbB", kPlanes, {});
  ASSERT_TRUE(pixels.ok()) << pixels.status();
  EXPECT_EQ(std::string(pixels->data(), 6), "rgbRGB");
}

TEST(PixelsTest, SquaresHaveASide) {
  EXPECT_EQ(SquareSide(784), 28);
  EXPECT_EQ(SquareSide(783), 0);
  EXPECT_EQ(SquareSide(0), 0);
  // (2^31 - 1)^2, and what is near it or beyond.
  EXPECT_EQ(SquareSide(4611686014132420609), 2147483647);
  EXPECT_EQ(SquareSide(4611686014132420608), 0);
  EXPECT_EQ(SquareSide(9223372036854775807), 0);
}

TEST(PixelsTest, AFloat64BeyondFloat32KeepsItsSignInTheError) {
  const double values[3] = {0, -1e300, 1};
  ExpectInvalid(
      ConvertPixels("f", {'f', 8}, reinterpret_cast<const char*>(values), kRow, {}).status(),
      "column 1, channel 0 is -inf; want finite values (as float32)");
}

}  // namespace
}  // namespace convd
