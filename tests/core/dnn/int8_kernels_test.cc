#include "core/dnn/int8_kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

// The kernels on bytes against plain loops over integers.

namespace convd {
namespace {

std::string Text(const Int8Shape& s) {
  return absl::StrCat(s.images, "x", s.in_h, "x", s.in_w, "x", s.channels, " to ", s.filters, ", ",
                      s.kernel_h, "x", s.row_taps, " taps", s.pool ? ", pool" : "",
                      s.bytes ? ", bytes" : "");
}

Int8Shape Shape(int64_t images, int64_t in_h, int64_t in_w, int64_t channels, int64_t filters,
                int kernel_h, int kernel_w, int stride_h = 1, int stride_w = 1) {
  Int8Shape s;
  s.images = images;
  s.in_h = in_h;
  s.in_w = in_w;
  s.channels = channels;
  s.out_h = (in_h - kernel_h) / stride_h + 1;
  s.out_w = (in_w - kernel_w) / stride_w + 1;
  s.filters = filters;
  s.kernel_h = kernel_h;
  s.row_taps = kernel_w * channels;
  s.stride_h = stride_h;
  s.stride_w = stride_w;
  return s;
}

struct Data {
  explicit Data(const Int8Shape& s)
      : x(s.images * s.in_h * s.in_w * s.channels),
        w(s.kernel_h * s.row_taps * s.filters),
        start(PaddedFilters(s.filters)),
        scale(start.size()),
        offset(start.size()) {
    for (uint8_t& v : x) v = static_cast<uint8_t>(Next());
    for (int8_t& v : w) v = static_cast<int8_t>(std::max(-127, int{static_cast<int8_t>(Next())}));
    // Extremes, in their worst order, too.
    if (x.size() > 8) std::fill(x.begin(), x.begin() + 8, 255);
    if (w.size() > 8) std::fill(w.begin(), w.begin() + 8, 127);
    for (size_t f = 0; f < start.size(); ++f) {
      start[f] = static_cast<int32_t>(Next() % 20001) - 10000;
      scale[f] = 1e-3f * static_cast<float>(1 + Next() % 100);
      offset[f] = static_cast<float>(Next() % 200) - 60;
    }
    // As the kernel wants them: rows of four taps, 16 filters each.
    packed.assign(Int8WeightBytes(s), 0);
    for (int kh = 0; kh < s.kernel_h; ++kh)
      for (int64_t t = 0; t < s.row_taps; ++t)
        for (int64_t f = 0; f < s.filters; ++f)
          packed[((kh * Int8Steps(s) + t / 4) * PaddedFilters(s.filters) + f) * 4 + t % 4] =
              w[(kh * s.row_taps + t) * s.filters + f];
  }

  uint32_t Next() { return (state = state * 1664525u + 1013904223u) >> 12; }

  uint32_t state = 7;
  std::vector<uint8_t> x;
  std::vector<int8_t> w, packed;
  std::vector<int32_t> start;
  std::vector<float> scale, offset;
};

std::vector<int64_t> ReferenceSums(const Int8Shape& s, const Data& d) {
  std::vector<int64_t> sums;
  for (int64_t n = 0; n < s.images; ++n)
    for (int64_t oh = 0; oh < s.out_h; ++oh)
      for (int64_t ow = 0; ow < s.out_w; ++ow)
        for (int64_t f = 0; f < s.filters; ++f) {
          int64_t sum = d.start[f];
          for (int kh = 0; kh < s.kernel_h; ++kh)
            for (int64_t t = 0; t < s.row_taps; ++t)
              sum += int64_t{d.x[((n * s.in_h + oh * s.stride_h + kh) * s.in_w + ow * s.stride_w) *
                                     s.channels +
                                 t]} *
                     d.w[(kh * s.row_taps + t) * s.filters + f];
          sums.push_back(sum);
        }
  return sums;
}

// What the outputs of the sums are, after the pool.
std::vector<float> ReferenceOutputs(const Int8Shape& s, const Data& d) {
  const std::vector<int64_t> sums = ReferenceSums(s, d);
  const auto value = [&](int64_t sum, int64_t f) {
    float v = std::fma(static_cast<float>(sum), d.scale[f], d.offset[f]);
    if (!s.bytes) return s.relu ? std::max(v, 0.0f) : v;
    v = std::nearbyint(v);
    return std::min(std::max(v, static_cast<float>(s.least)), 255.0f);
  };
  std::vector<float> outputs;
  if (!s.pool) {
    for (size_t i = 0; i < sums.size(); ++i)
      outputs.push_back(value(sums[i], static_cast<int64_t>(i) % s.filters));
    return outputs;
  }
  for (int64_t n = 0; n < s.images; ++n)
    for (int64_t h = 0; h < s.out_h / 2; ++h)
      for (int64_t w = 0; w < s.out_w / 2; ++w)
        for (int64_t f = 0; f < s.filters; ++f) {
          int64_t largest = INT64_MIN;
          for (int i = 0; i < 4; ++i)
            largest = std::max(
                largest,
                sums[((n * s.out_h + 2 * h + i / 2) * s.out_w + 2 * w + i % 2) * s.filters + f]);
          outputs.push_back(value(largest, f));
        }
  return outputs;
}

class Int8KernelsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!__builtin_cpu_supports("avx512vnni")) GTEST_SKIP() << "this CPU has no AVX512-VNNI";
  }
};

// Of the shape with and without a pool, a ReLU and bytes, at once and in ranges of parts.
void ExpectExact(Int8Shape s) {
  const Data d(s);
  std::vector<uint8_t> x = d.x;
  for (int i = 0; i < kInt8Slack; ++i) x.push_back(static_cast<uint8_t>(200 + i));
  for (const bool pool : {false, true}) {
    if (pool && (s.out_h < 2 || s.out_w < 2)) continue;
    s.pool = pool;
    for (const bool relu : {false, true}) {
      for (const bool bytes : {false, true}) {
        s.relu = relu;
        s.bytes = bytes;
        s.least = relu ? 17 : 0;
        SCOPED_TRACE(Text(s));
        const std::vector<float> want = ReferenceOutputs(s, d);
        const Int8Outputs to{d.start.data(), d.scale.data(), d.offset.data()};
        const int64_t parts = Int8Parts(s);
        for (const int64_t range : {parts, int64_t{1}, int64_t{3}}) {
          SCOPED_TRACE(absl::StrCat("parts by ", range));
          std::vector<float> got(want.size() + 1, -3.0f);
          std::vector<uint8_t> got_bytes(want.size() + 1, 99);
          for (int64_t begin = 0; begin < parts; begin += range) {
            kKernelsVnni.convolution(s, {begin, std::min(begin + range, parts)}, x.data(),
                                     d.packed.data(), to,
                                     bytes ? static_cast<void*>(got_bytes.data()) : got.data());
          }
          for (size_t i = 0; i < want.size(); ++i)
            ASSERT_EQ(bytes ? static_cast<float>(got_bytes[i]) : got[i], want[i]) << "at " << i;
          EXPECT_EQ(got.back(), -3.0f) << "written beyond the end";
          EXPECT_EQ(got_bytes.back(), 99) << "written beyond the end";
        }
      }
    }
  }
}

TEST_F(Int8KernelsTest, ConvolutionsAreExact) {
  for (const Int8Shape& s : {
           Shape(2, 28, 28, 1, 32, 3, 3),      // one channel: rows of three taps
           Shape(2, 13, 13, 32, 64, 3, 3),     // whole steps, whole vectors
           Shape(1, 9, 11, 3, 20, 5, 5),       // filters that fill no vector
           Shape(3, 7, 6, 6, 16, 5, 2),        // an oblong window
           Shape(2, 8, 9, 5, 48, 2, 3, 2, 3),  // strides
           Shape(1, 3, 3, 7, 1, 3, 3),         // one output, one filter
           Shape(2, 2, 2, 1, 33, 1, 1),
           Shape(1, 1, 1, 1600, 10, 1, 1),  // a dense layer
           Shape(1, 1, 37, 401, 84, 1, 1),  // on many images
           Shape(1, 4, 17, 16, 31, 1, 4),
       }) {
    ExpectExact(s);
  }
}

// Columns are computed in blocks of every width that a kernel has, and split into as many chains of
// sums as a small block needs, over rows of steps that don't divide by them.
TEST_F(Int8KernelsTest, BlocksOfEveryWidthAreExact) {
  for (const int64_t filters : {3, 16, 29, 32, 45}) {
    for (int64_t columns = 1; columns <= 19; ++columns) {
      ExpectExact(Shape(1, 4, columns + 1, 9, filters, 2, 2));  // three rows of five steps
      ExpectExact(Shape(1, 1, columns, 45, filters, 1, 1));     // one of twelve
    }
  }
}

TEST_F(Int8KernelsTest, OutputsThatNoIntegerHoldsSaturate) {
  Int8Shape s = Shape(1, 1, 3, 4, 32, 1, 1);
  s.bytes = true;
  const std::vector<uint8_t> x(3 * 4 + kInt8Slack, 255);
  std::vector<int8_t> w(Int8WeightBytes(s));
  for (size_t i = 0; i < w.size(); ++i) w[i] = i / 4 % 2 == 0 ? 127 : -127;  // filters in turn
  const std::vector<int32_t> start(32, 0);
  const std::vector<float> offset(32, 3.0f);
  for (const float large : {20000.0f, 1e9f, 3e38f, INFINITY}) {
    const std::vector<float> scale(32, large);
    for (const int32_t least : {0, 17}) {
      s.least = least;
      std::vector<uint8_t> y(3 * 32, 99);
      kKernelsVnni.convolution(s, {0, Int8Parts(s)}, x.data(), w.data(),
                               {start.data(), scale.data(), offset.data()}, y.data());
      for (size_t i = 0; i < y.size(); ++i)
        ASSERT_EQ(y[i], i % 2 == 0 ? 255 : least) << "scale " << large << " at " << i;
    }
  }
}

// The largest sum that the header allows.
TEST_F(Int8KernelsTest, SumsOfTheMostTapsDontOverflow) {
  Int8Shape s = Shape(1, 1, 1, 65536, 1, 1, 1);
  std::vector<uint8_t> x(s.row_taps, 255);
  for (const int8_t weight : {int8_t{127}, int8_t{-127}}) {
    std::vector<int8_t> w(Int8WeightBytes(s), 0);
    for (int64_t t = 0; t < s.row_taps; ++t) w[t / 4 * 64 + t % 4] = weight;
    const std::vector<int32_t> start(16, 0);
    const std::vector<float> scale(16, 1.0f), offset(16, 0.0f);
    float y = 0;
    kKernelsVnni.convolution(s, {0, Int8Parts(s)}, x.data(), w.data(),
                             {start.data(), scale.data(), offset.data()}, &y);
    EXPECT_EQ(y, static_cast<float>(int64_t{255} * weight * 65536));
  }
}

TEST_F(Int8KernelsTest, QuantizeRoundsAndSaturates) {
  std::vector<float> x = {0.0f,   0.5f,  1.5f,   2.5f,     -0.5f,     -1.5f, 254.4f, 254.5f,
                          255.5f, 1e30f, -1e30f, INFINITY, -INFINITY, NAN,   1e-40f};
  for (int i = 0; i < 40; ++i) x.push_back(0.37f * static_cast<float>(i * i) - 20);
  for (const int32_t zero : {0, 3, 128, 255}) {
    for (const float inverse : {1.0f, 0.25f, 7.3f}) {
      for (size_t n = 0; n <= x.size(); ++n) {
        std::vector<uint8_t> y(x.size() + 1, 77);
        kKernelsVnni.quantize(static_cast<int64_t>(n), x.data(), inverse, zero, y.data());
        for (size_t i = 0; i < n; ++i) {
          const float rounded = std::nearbyint(x[i] * inverse) + static_cast<float>(zero);
          // What is no number is what a CPU's maximum makes of it: the least.
          const float want = std::isnan(x[i]) ? 0 : std::min(std::max(rounded, 0.0f), 255.0f);
          ASSERT_EQ(y[i], want) << x[i] << " * " << inverse << " + " << zero;
        }
        ASSERT_EQ(y[n], 77) << "written beyond the end";
      }
    }
  }
}

}  // namespace
}  // namespace convd
