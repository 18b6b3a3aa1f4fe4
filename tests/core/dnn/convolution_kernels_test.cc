#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ostream>
#include <string>
#include <vector>

#include "core/dnn/kernels.h"
#include "tests/core/dnn/kernel_tables.h"

// The engine's own convolutions against the plain loops, in double, that the mathematics say, on
// every instruction set that this CPU has.

namespace convd {
namespace {

// What both kinds of kernel compute: NHWC, stride 1, zeros around.
struct Case {
  int64_t images;
  int in_h, in_w, channels, filters, kernel, pad_top, pad_left, pad_bottom, pad_right;
  bool relu, pool, bias;

  int out_h() const { return in_h + pad_top + pad_bottom - kernel + 1; }
  int out_w() const { return in_w + pad_left + pad_right - kernel + 1; }
  int64_t inputs() const { return images * in_h * in_w * channels; }
  int64_t outputs() const { return images * out_h() * out_w() * filters; }
  int64_t written() const {
    return pool ? images * (out_h() / 2) * (out_w() / 2) * filters : outputs();
  }
  int64_t weights() const { return int64_t{kernel} * kernel * channels * filters; }
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.images << "x" << c.in_h << "x" << c.in_w << "x" << c.channels << " to "
             << c.filters << (c.relu ? ", relu" : "") << (c.pool ? ", pool" : "");
}

// What a kernel wrote, forward and backward.
struct Results {
  std::vector<float> y, dw, db, dx;
  std::vector<uint8_t> index;
};

struct Data {
  explicit Data(const Case& c)
      : x(Numbers(c.inputs())),
        w(Numbers(c.weights())),
        bias(Numbers(c.filters)),
        dy(Numbers(c.written())) {}

  std::vector<float> Numbers(int64_t n) {
    std::vector<float> v(n);
    for (float& f : v)
      f = static_cast<float>((state = state * 1664525u + 1013904223u) >> 8) / 8388608.0f - 1;
    return v;
  }

  uint32_t state = 99;
  std::vector<float> x, w, bias, dy;
};

// Calls f(output, input, weight) for every product of the convolution: offsets in the arrays.
template <typename F>
void ForEachProduct(const Case& c, F f) {
  int64_t o = 0;
  for (int64_t n = 0; n < c.images; ++n)
    for (int oh = 0; oh < c.out_h(); ++oh)
      for (int ow = 0; ow < c.out_w(); ++ow)
        for (int filter = 0; filter < c.filters; ++filter, ++o)
          for (int kh = 0; kh < c.kernel; ++kh)
            for (int kw = 0; kw < c.kernel; ++kw) {
              const int h = oh + kh - c.pad_top, w = ow + kw - c.pad_left;
              if (h < 0 || w < 0 || h >= c.in_h || w >= c.in_w) continue;
              for (int ch = 0; ch < c.channels; ++ch)
                f(o, ((n * c.in_h + h) * c.in_w + w) * c.channels + ch,
                  ((int64_t{kh} * c.kernel + kw) * c.channels + ch) * c.filters + filter);
            }
}

// Within `tolerance` of the largest that is wanted.
void ExpectNear(const char* what, const std::vector<float>& got, const std::vector<double>& want,
                double tolerance) {
  ASSERT_EQ(got.size(), want.size()) << what;
  double largest = 0;
  for (const double v : want) largest = std::max(largest, std::abs(v));
  EXPECT_GT(largest, 0) << what;
  for (size_t i = 0; i < want.size(); ++i)
    ASSERT_NEAR(got[i], want[i], tolerance * largest) << what << " at " << i;
}

// Which of a pool's windows is decided by rounding where two are near; so backward is held to what
// forward chose, and its choice to being near the largest.
void Check(const Case& c, const Data& d, const Results& got, double tolerance) {
  SCOPED_TRACE(::testing::Message() << c);
  std::vector<double> sums(c.outputs());
  for (int64_t o = 0; o < c.outputs(); ++o) sums[o] = c.bias ? d.bias[o % c.filters] : 0;
  ForEachProduct(c, [&](int64_t o, int64_t i, int64_t k) { sums[o] += double{d.x[i]} * d.w[k]; });
  double largest = 0;
  for (const double sum : sums) largest = std::max(largest, std::abs(sum));

  std::vector<double> y(c.written()), gradient(c.outputs());
  for (int64_t at = 0; at < c.written(); ++at) {
    int64_t o = at;  // the output that was written, or that won
    if (c.pool) {
      const int64_t filter = at % c.filters, w = at / c.filters % (c.out_w() / 2),
                    h = at / c.filters / (c.out_w() / 2) % (c.out_h() / 2),
                    n = at / c.filters / (c.out_w() / 2) / (c.out_h() / 2);
      double best = -INFINITY;
      for (int i = 0; i < 4; ++i) {
        const int64_t candidate =
            ((n * c.out_h() + 2 * h + i / 2) * c.out_w() + 2 * w + i % 2) * c.filters + filter;
        best = std::max(best, sums[candidate]);
        if (i == got.index[at]) o = candidate;
      }
      ASSERT_LT(got.index[at], 4);
      ASSERT_NEAR(sums[o], best, tolerance * largest) << "index at " << at;
    }
    y[at] = c.relu ? std::max(sums[o], 0.0) : sums[o];
    if (!c.relu || got.y[at] > 0) gradient[o] = d.dy[at];
  }
  ExpectNear("y", got.y, y, tolerance);

  std::vector<double> dw(c.weights()), db(c.filters), dx(c.inputs());
  for (int64_t o = 0; o < c.outputs(); ++o) db[o % c.filters] += gradient[o];
  ForEachProduct(c, [&](int64_t o, int64_t i, int64_t k) {
    dw[k] += gradient[o] * d.x[i];
    dx[i] += gradient[o] * d.w[k];
  });
  ExpectNear("dw", got.dw, dw, tolerance);
  if (c.bias) ExpectNear("db", got.db, db, tolerance);
  if (!got.dx.empty()) ExpectNear("dx", got.dx, dx, tolerance);
}

Results RunWinograd(const WinogradKernels& k, const Case& c, const Data& d, int64_t block) {
  const WinogradShape s{c.images,  c.in_h,    c.in_w,     c.channels, c.out_h(), c.out_w(),
                        c.filters, c.pad_top, c.pad_left, c.relu,     c.pool,    block};
  std::vector<float> u(kWinogradPoints * int64_t{c.channels} * c.filters), ut(u.size());
  k.weights(c.channels, c.filters, d.w.data(), u.data());
  std::vector<float> exchanged(d.w.size());
  for (int64_t i = 0; i < 9; ++i)
    for (int64_t ch = 0; ch < c.channels; ++ch)
      for (int64_t f = 0; f < c.filters; ++f)
        exchanged[(i * c.filters + f) * c.channels + ch] =
            d.w[(i * c.channels + ch) * c.filters + f];
  k.weights(c.filters, c.channels, exchanged.data(), ut.data());
  // NaN wherever it isn't written.
  std::vector<float> scratch(WinogradScratch(s, true), NAN);
  Results r;
  r.y.assign(c.written(), NAN);
  r.index.assign(c.pool ? c.written() : 0, 99);
  r.dw.assign(c.weights(), NAN);
  r.db.assign(c.filters, NAN);
  r.dx.assign(c.inputs(), NAN);
  uint8_t* const index = c.pool ? r.index.data() : nullptr;
  // In two parts where there are as many blocks.
  const int64_t tiles = WinogradTiles(s), middle = tiles > block ? block : tiles;
  for (const TileRange& range : {TileRange{0, middle}, TileRange{middle, tiles}}) {
    if (range.begin == range.end) continue;
    k.forward(s, range, d.x.data(), u.data(), c.bias ? d.bias.data() : nullptr, r.y.data(), index,
              scratch.data());
  }
  std::fill(scratch.begin(), scratch.end(), NAN);
  for (const TileRange& range : {TileRange{0, middle}, TileRange{middle, tiles}}) {
    if (range.begin == range.end) continue;
    k.backward(s, range, d.x.data(), d.dy.data(), r.y.data(), index, ut.data(), r.dw.data(),
               c.bias ? r.db.data() : nullptr, r.dx.data(), scratch.data());
  }
  return r;
}

// Rows of `columns` with as many more zeros as a kernel pads them with.
std::vector<float> PaddedRows(const std::vector<float>& from, int columns) {
  const int64_t stride = PaddedUnits(columns);
  std::vector<float> to(from.size() / columns * stride);
  for (size_t i = 0; i < from.size(); ++i) to[i / columns * stride + i % columns] = from[i];
  return to;
}

// The same back; what is beyond the columns has to be zero.
std::vector<float> WithoutPadding(const std::vector<float>& from, int columns) {
  const int64_t stride = PaddedUnits(columns);
  std::vector<float> to;
  for (size_t i = 0; i < from.size(); ++i) {
    if (static_cast<int64_t>(i) % stride < columns) {
      to.push_back(from[i]);
    } else {
      EXPECT_EQ(from[i], 0.0f) << "at " << i;
    }
  }
  return to;
}

Results RunNarrow(const Kernels& k, const Case& c, const Data& d) {
  const NarrowShape s{c.images,  c.in_h,   c.in_w,   c.channels, c.out_h(), c.out_w(),
                      c.filters, c.kernel, c.kernel, c.relu,     c.pool};
  const std::vector<float> w = PaddedRows(d.w, c.filters), bias = PaddedRows(d.bias, c.filters);
  // Vectors, so that the sanitizer sees where one is read or written beyond its end.
  std::vector<float> dw(w.size(), NAN), db(bias.size(), NAN), dy = d.dy;
  Results r;
  r.y.assign(c.written(), NAN);
  r.index.assign(c.pool ? c.written() : 0, 99);
  uint8_t* const index = c.pool ? r.index.data() : nullptr;
  k.narrow_forward(s, d.x.data(), w.data(), c.bias ? bias.data() : nullptr, r.y.data(), index);
  k.narrow_backward(s, d.x.data(), dy.data(), r.y.data(), index, dw.data(),
                    c.bias ? db.data() : nullptr);
  r.dw = WithoutPadding(dw, c.filters);
  if (c.bias) r.db = WithoutPadding(db, c.filters);
  return r;
}

class ConvolutionKernels : public ::testing::TestWithParam<const Kernels*> {
 protected:
  const Kernels& k = *GetParam();
};

// Edges of every kind: tiles that reach over one side or both, asymmetric padding, odd sizes under
// a pool, images smaller than a tile, filters that fill one, three and more vectors.
const Case kWinogradCases[] = {
    {3, 13, 13, 32, 64, 3, 0, 0, 0, 0, true, true, true},
    {2, 13, 13, 16, 48, 3, 0, 0, 0, 0, false, true, true},
    {2, 8, 8, 32, 32, 3, 1, 1, 1, 1, true, false, true},
    {1, 7, 5, 16, 16, 3, 1, 1, 1, 1, true, false, false},
    {2, 6, 9, 48, 16, 3, 0, 1, 1, 0, false, false, true},
    {5, 3, 3, 16, 16, 3, 0, 0, 0, 0, false, false, true},
    {2, 1, 2, 16, 32, 3, 1, 1, 1, 1, true, false, true},
    {1, 4, 4, 16, 16, 3, 2, 2, 2, 2, false, false, true},
    {2, 5, 4, 16, 112, 3, 1, 1, 1, 1, true, true, false},
};

TEST_P(ConvolutionKernels, WinogradComputesTheConvolutionAndItsGradients) {
  for (const Case& c : kWinogradCases) {
    const Data d(c);
    for (const int64_t block : {1, 5, 12, 24}) {
      SCOPED_TRACE(::testing::Message() << "block " << block);
      Check(c, d, RunWinograd(k.winograd, c, d, block), 3e-6);
    }
  }
}

// The bits of an image, and of the sums over images, are not to depend on how tiles meet in a
// block.
TEST_P(ConvolutionKernels, WinogradGivesTheSameBitsWhateverTheBlock) {
  for (const Case& c : kWinogradCases) {
    const Data d(c);
    const Results want = RunWinograd(k.winograd, c, d, 12);
    for (const int64_t block : {1, 2, 7, 36}) {
      const Results got = RunWinograd(k.winograd, c, d, block);
      EXPECT_EQ(got.y, want.y) << c << ", block " << block;
      EXPECT_EQ(got.index, want.index) << c << ", block " << block;
      EXPECT_EQ(got.dw, want.dw) << c << ", block " << block;
      if (c.bias) {
        EXPECT_EQ(got.db, want.db) << c << ", block " << block;
      }
      EXPECT_EQ(got.dx, want.dx) << c << ", block " << block;
    }
  }
}

float Same(float f) { return f; }

// To the nearest bfloat16, of two the one whose last bit is 0.
float ToBf16(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, sizeof(bits));
  bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000;
  std::memcpy(&f, &bits, sizeof(bits));
  return f;
}

// How much more than the direct method's, with factors that `rounded` gives and sums in f32, the
// error is: root mean square, the largest of outputs and gradients.
double TimesTheDirectMethodsError(const WinogradKernels& k, float (*rounded)(float)) {
  const Case c{4, 13, 13, 32, 64, 3, 0, 0, 0, 0, false, false, false};
  Data d(c);
  for (float& x : d.x) x = std::max(x, 0.0f);  // as after a ReLU
  const Results got = RunWinograd(k, c, d, 24);
  std::vector<double> want(c.outputs()), want_dw(c.weights()), want_dx(c.inputs());
  std::vector<float> direct(c.outputs()), direct_dw(c.weights()), direct_dx(c.inputs());
  ForEachProduct(c, [&](int64_t o, int64_t i, int64_t w) {
    want[o] += double{d.x[i]} * d.w[w];
    want_dw[w] += double{d.dy[o]} * d.x[i];
    want_dx[i] += double{d.dy[o]} * d.w[w];
    direct[o] = std::fma(rounded(d.x[i]), rounded(d.w[w]), direct[o]);
    direct_dw[w] = std::fma(rounded(d.dy[o]), rounded(d.x[i]), direct_dw[w]);
    direct_dx[i] = std::fma(rounded(d.dy[o]), rounded(d.w[w]), direct_dx[i]);
  });
  const auto error = [](const std::vector<float>& a, const std::vector<double>& b) {
    double sum = 0;
    for (size_t i = 0; i < b.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return std::sqrt(sum / static_cast<double>(b.size()));
  };
  return std::max({error(got.y, want) / error(direct, want),
                   error(got.dw, want_dw) / error(direct_dw, want_dw),
                   error(got.dx, want_dx) / error(direct_dx, want_dx)});
}

TEST_P(ConvolutionKernels, WinogradsErrorIsWithinThreeTimesTheDirectMethods) {
  EXPECT_LE(TimesTheDirectMethodsError(k.winograd, Same), 3);
}

TEST_P(ConvolutionKernels, NarrowComputesTheConvolutionAndItsGradients) {
  for (const Case& c : {Case{2, 28, 28, 1, 32, 3, 0, 0, 0, 0, true, true, true},
                        Case{3, 7, 10, 1, 16, 3, 0, 0, 0, 0, false, true, false},
                        Case{2, 9, 8, 3, 48, 3, 0, 0, 0, 0, true, false, true},
                        Case{2, 11, 6, 1, 16, 5, 0, 0, 0, 0, true, true, true},
                        Case{1, 5, 5, 4, 80, 3, 0, 0, 0, 0, false, false, true},
                        Case{2, 6, 5, 3, 16, 1, 0, 0, 0, 0, true, true, true},
                        Case{1, 3, 3, 3, 16, 3, 0, 0, 0, 0, true, false, true},
                        // Gradients that don't fit into a first cache at once, nor one row of them.
                        Case{3, 30, 31, 1, 8, 5, 0, 0, 0, 0, true, false, true},
                        Case{2, 20, 31, 3, 40, 3, 0, 0, 0, 0, true, true, true},
                        Case{1, 5, 40, 1, 130, 3, 0, 0, 0, 0, true, false, true}}) {
    const Data d(c);
    Check(c, d, RunNarrow(k, c, d), 3e-6);
  }
}

// Filters that fill their last vector in part, or two, and less than one.
TEST_P(ConvolutionKernels, NarrowTakesAnyNumberOfFilters) {
  for (const int filters : {1, 2, 6, 8, 10, 15, 17, 20, 24, 33, 50}) {
    for (const bool pool : {false, true}) {
      for (const bool relu : {false, true}) {
        for (const Case& c : {Case{2, 9, 20, 1, filters, 5, 0, 0, 0, 0, relu, pool, true},
                              Case{2, 8, 21, 1, filters, 3, 0, 0, 0, 0, relu, pool, false},
                              Case{1, 8, 7, 1, filters, 5, 0, 0, 0, 0, relu, pool, false},
                              Case{2, 6, 9, 3, filters, 3, 0, 0, 0, 0, relu, pool, true}}) {
          const Data d(c);
          Check(c, d, RunNarrow(k, c, d), 3e-6);
        }
      }
    }
  }
}

// Windows of every size, whose taps along a row are taken by twelve, nine, five, three and one.
TEST_P(ConvolutionKernels, NarrowTakesAnyWindow) {
  for (const int kernel : {1, 2, 3, 4, 5, 6, 7, 11}) {
    for (const int channels : {1, 2, 3, 4}) {
      const Case c{2, 13, 12, channels, 6, kernel, 0, 0, 0, 0, true, kernel % 2 == 0, true};
      const Data d(c);
      Check(c, d, RunNarrow(k, c, d), 3e-6);
    }
  }
}

class Bf16ConvolutionKernels : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!HasBf16()) GTEST_SKIP() << "this CPU has no AVX512-BF16";
  }
  const WinogradKernels& k = kKernelsBf16.winograd;
};

TEST_F(Bf16ConvolutionKernels, WinogradComputesTheConvolutionAndItsGradients) {
  for (const Case& c : kWinogradCases) {
    const Data d(c);
    for (const int64_t block : {2, 12, 24}) {
      SCOPED_TRACE(::testing::Message() << "block " << block);
      Check(c, d, RunWinograd(k, c, d, block), 0.06);
    }
  }
}

TEST_F(Bf16ConvolutionKernels, WinogradGivesTheSameBitsWhateverTheBlock) {
  for (const Case& c : kWinogradCases) {
    const Data d(c);
    const Results want = RunWinograd(k, c, d, 12);
    for (const int64_t block : {2, 8, 36}) {
      const Results got = RunWinograd(k, c, d, block);
      EXPECT_EQ(got.y, want.y) << c << ", block " << block;
      EXPECT_EQ(got.index, want.index) << c << ", block " << block;
      EXPECT_EQ(got.dw, want.dw) << c << ", block " << block;
      EXPECT_EQ(got.dx, want.dx) << c << ", block " << block;
    }
  }
}

// More than in f32, where the direct method's error is that of its sums: here it is that of
// factors alone, and Winograd's factors are sums of them.
TEST_F(Bf16ConvolutionKernels, WinogradsErrorIsWithinSixTimesTheDirectMethods) {
  EXPECT_LE(TimesTheDirectMethodsError(k, ToBf16), 6);
}

TEST_F(Bf16ConvolutionKernels, FromFloatRoundsToTheNearest) {
  std::vector<float> x = {0.0f, 1.0f, -1.0f, 1.00390625f, 1.01171875f, 3e38f, 3.4e38f, INFINITY};
  for (int i = 0; i < 60; ++i) x.push_back(std::ldexp(1.0f + 0.013f * i, i - 30));
  for (size_t n = 0; n <= x.size(); ++n) {
    std::vector<uint16_t> y(x.size(), 0x1234);
    kKernelsBf16.from_float(static_cast<int64_t>(n), x.data(), y.data());
    for (size_t i = 0; i < x.size(); ++i) {
      const float rounded = ToBf16(x[i]);
      uint32_t bits;
      std::memcpy(&bits, &rounded, sizeof(bits));
      ASSERT_EQ(y[i], i < n ? bits >> 16 : 0x1234) << x[i] << ", " << n << " of them";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, ConvolutionKernels, ::testing::ValuesIn(KernelTables()),
                         KernelTableName);

}  // namespace
}  // namespace convd
