#include "core/data/numbers.h"

#include <gtest/gtest.h>

#include <cmath>

namespace convd {
namespace {

TEST(NumbersTest, TypesHaveNumpysNames) {
  EXPECT_EQ((NumberType{'b', 1, false}.Text()), "bool");
  EXPECT_EQ((NumberType{'u', 1, false}.Text()), "uint8");
  EXPECT_EQ((NumberType{'i', 8, true}.Text()), "int64");
  EXPECT_EQ((NumberType{'f', 2, false}.Text()), "float16");
  EXPECT_EQ((NumberType{'c', 16, false}.Text()), "complex128");
}

TEST(NumbersTest, LongDoublesAndComplexNumbersAreNotRead) {
  EXPECT_TRUE(IsReadNumber({'b', 1, false}));
  EXPECT_TRUE(IsReadNumber({'i', 8, true}));
  EXPECT_TRUE(IsReadNumber({'f', 2, false}));
  EXPECT_FALSE(IsReadNumber({'f', 16, false}));
  EXPECT_FALSE(IsReadNumber({'f', 12, false}));
  EXPECT_FALSE(IsReadNumber({'c', 8, false}));
  EXPECT_FALSE(IsReadNumber({'f', 1, false}));
}

TEST(NumbersTest, ABoolIsOneWhateverItsByte) {
  EXPECT_EQ(NumberAt({'b', 1, false}, "\x00"), 0);
  EXPECT_EQ(NumberAt({'b', 1, false}, "\x01"), 1);
  EXPECT_EQ(NumberAt({'b', 1, false}, "\xff"), 1);
}

// The bits and values are from IEEE 754's table of binary16.
TEST(NumbersTest, HalvesOfEveryClassAreExact) {
  constexpr NumberType kHalf{'f', 2, true};
  EXPECT_EQ(NumberAt(kHalf, "\x3c\x00"), 1);
  EXPECT_EQ(NumberAt(kHalf, "\x3c\x01"), 1 + std::ldexp(1, -10));
  EXPECT_EQ(NumberAt(kHalf, "\x7b\xff"), 65504);
  EXPECT_EQ(NumberAt(kHalf, "\x04\x00"), std::ldexp(1, -14));
  EXPECT_EQ(NumberAt(kHalf, "\x03\xff"), std::ldexp(1023, -24));
  EXPECT_EQ(NumberAt(kHalf, "\x00\x01"), std::ldexp(1, -24));
  EXPECT_TRUE(std::signbit(NumberAt(kHalf, "\x80\x00")));
  EXPECT_EQ(NumberAt(kHalf, "\x80\x00"), 0);
  EXPECT_EQ(NumberAt(kHalf, "\xfc\x00"), -INFINITY);
  EXPECT_TRUE(std::isnan(NumberAt(kHalf, "\x7c\x01")));
}

TEST(NumbersTest, WholeNumbersAreWrittenOut) {
  EXPECT_EQ(NumberText(-1), "-1");
  EXPECT_EQ(NumberText(2147483647), "2147483647");
  EXPECT_EQ(NumberText(1.5), "1.5");
  EXPECT_EQ(NumberText(1e300), "1e+300");
  EXPECT_EQ(NumberText(std::nan("")), "nan");
}

}  // namespace
}  // namespace convd
