#include "core/dnn/weight_reorder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

#include "core/dnn/precision.h"

namespace convd {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;

// Filters, channels, rows and columns of a kernel, in each of some groups.
struct Kernel {
  int64_t groups, filters, channels, height, width;

  int64_t elements() const { return groups * filters * channels * height * width; }
  memory::dims dims() const {
    if (groups == 1) return {filters, channels, height, width};
    return {groups, filters, channels, height, width};
  }
  memory::desc Layout(Tag plain, Tag grouped) const {
    return {dims(), memory::data_type::f32, groups == 1 ? plain : grouped};
  }
};

// oneDNN 3.7's own reorder loses elements of the first four on AVX-512: those of the last channel,
// in the second column.
const Kernel kKernels[] = {{2, 3, 2, 3, 3},   {1, 9, 17, 2, 2},  {3, 3, 2, 2, 2},
                           {1, 16, 17, 3, 3}, {3, 1, 1, 3, 3},   {1, 33, 31, 1, 2},
                           {1, 17, 3, 2, 2},  {1, 32, 32, 3, 3}, {2, 16, 16, 2, 3}};

// Where a row-major element lies with blocks of 16 filters within blocks of 16 channels, by that
// format's definition.
int64_t BlockedOffset(const Kernel& k, int64_t element, bool filters_outside = false) {
  const int64_t w = element % k.width, h = element / k.width % k.height;
  const int64_t i = element / (k.width * k.height) % k.channels;
  const int64_t o = element / (k.width * k.height * k.channels) % k.filters;
  const int64_t g = element / (k.width * k.height * k.channels * k.filters);
  const int64_t filter_blocks = (k.filters + 15) / 16, channel_blocks = (k.channels + 15) / 16;
  const int64_t block =
      (((g * filter_blocks + o / 16) * channel_blocks + i / 16) * k.height + h) * k.width + w;
  return block * 256 + (filters_outside ? o % 16 * 16 + i % 16 : i % 16 * 16 + o % 16);
}

std::vector<float> Counted(const Kernel& kernel) {
  std::vector<float> values(kernel.elements());
  std::iota(values.begin(), values.end(), 1.0f);
  return values;
}

TEST(WeightReorderTest, EveryElementArrivesInItsBlockAndTheRestIsZero) {
  for (const Kernel& kernel : kKernels) {
    const memory::desc plain = kernel.Layout(Tag::oihw, Tag::goihw);
    const memory::desc blocked = kernel.Layout(Tag::OIhw16i16o, Tag::gOIhw16i16o);
    const std::vector<float> values = Counted(kernel);
    std::vector<float> got(blocked.get_size() / sizeof(float), -7.0f);
    WeightReorder(plain, blocked)(values.data(), got.data());
    std::vector<float> want(got.size(), 0.0f);
    for (int64_t e = 0; e < kernel.elements(); ++e) want[BlockedOffset(kernel, e)] = values[e];
    EXPECT_EQ(got, want) << ::testing::PrintToString(kernel.dims());

    std::vector<float> back(values.size(), -7.0f);
    WeightReorder(blocked, plain)(got.data(), back.data());
    EXPECT_EQ(back, values) << ::testing::PrintToString(kernel.dims());
  }
}

// To the nearest of numbers with 8 significant bits, of two the even one.
uint16_t Bf16Of(int64_t count) {
  int exponent = 0;
  while (count >> exponent > 255) ++exponent;
  const float rounded =
      std::ldexp(std::nearbyint(std::ldexp(static_cast<float>(count), -exponent)), exponent);
  uint32_t bits;
  std::memcpy(&bits, &rounded, sizeof(bits));
  EXPECT_EQ(bits & 0xFFFF, 0u);
  return static_cast<uint16_t>(bits >> 16);
}

TEST(WeightReorderTest, EveryElementIsRoundedToBf16InItsBlock) {
  if (!CheckPrecision("", v1::PRECISION_BF16).ok()) GTEST_SKIP() << "no bf16 here";
  for (const Kernel& kernel : kKernels) {
    const memory::desc plain = kernel.Layout(Tag::oihw, Tag::goihw);
    const memory::desc blocked(kernel.dims(), memory::data_type::bf16,
                               kernel.groups == 1 ? Tag::OIhw16i16o : Tag::gOIhw16i16o);
    const std::vector<float> values = Counted(kernel);
    std::vector<uint16_t> got(blocked.get_size() / sizeof(uint16_t), 7);
    WeightReorder(plain, blocked)(values.data(), reinterpret_cast<float*>(got.data()));
    std::vector<uint16_t> want(got.size(), 0);
    for (int64_t e = 0; e < kernel.elements(); ++e) want[BlockedOffset(kernel, e)] = Bf16Of(e + 1);
    EXPECT_EQ(got, want) << ::testing::PrintToString(kernel.dims());
  }
}

TEST(WeightReorderTest, BlocksTurnIntoTransposedBlocks) {
  for (const Kernel& kernel : kKernels) {
    const memory::desc from = kernel.Layout(Tag::OIhw16i16o, Tag::gOIhw16i16o);
    const memory::desc to = kernel.Layout(Tag::OIhw16o16i, Tag::gOIhw16o16i);
    std::vector<float> source(from.get_size() / sizeof(float), 0.0f), want(source);
    for (int64_t e = 0; e < kernel.elements(); ++e) {
      source[BlockedOffset(kernel, e)] = want[BlockedOffset(kernel, e, true)] =
          static_cast<float>(e + 1);
    }
    std::vector<float> got(want.size(), -7.0f);
    WeightReorder(from, to)(source.data(), got.data());
    EXPECT_EQ(got, want) << ::testing::PrintToString(kernel.dims());
  }
}

}  // namespace
}  // namespace convd
