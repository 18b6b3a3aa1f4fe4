#include "core/dnn/kernels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/random/random.h"
#include "tests/core/dnn/kernel_tables.h"

// Each kernel against the plain loop that its comment describes, on every instruction set that this
// CPU has.

namespace convd {
namespace {

using ::testing::FloatNear;
using ::testing::Pointwise;

class KernelTable : public ::testing::TestWithParam<const Kernels*> {
 protected:
  const Kernels& k = *GetParam();
  uint32_t state = 99;
  // Quarters from -4 to 4, so that equal values occur.
  std::vector<float> Numbers(int64_t n) {
    std::vector<float> v(n);
    for (float& f : v)
      f = static_cast<int>((state = state * 1664525u + 1013904223u) >> 27) / 4.0f - 4;
    return v;
  }
};

TEST_P(KernelTable, MaxPoolTakesTheFirstLargestAndSendsTheGradientBackToIt) {
  // Odd sizes, overlap, padding, channels that are no multiple of a vector.
  for (const PoolShape& s : {PoolShape{2, 7, 5, 19, 3, 2, 2, 2, 2, 2, 0, 0},
                             PoolShape{1, 6, 6, 16, 3, 3, 2, 2, 2, 2, 0, 0},
                             PoolShape{1, 5, 5, 3, 5, 5, 3, 3, 1, 1, 1, 1},
                             PoolShape{2, 6, 6, 35, 4, 4, 3, 3, 1, 1, 0, 0},
                             PoolShape{1, 9, 9, 4, 3, 3, 2, 2, 3, 3, 0, 0}}) {
    const int c = s.channels;
    const std::vector<float> x = Numbers(s.images * s.in_h * s.in_w * c);
    const int64_t outputs = s.images * s.out_h * s.out_w * c;
    const std::vector<float> dy = Numbers(outputs);
    std::vector<float> y(outputs), dx(x.size(), 5), masked(x.size(), 5);
    std::vector<uint8_t> index(outputs);
    k.max_pool_forward(s, x.data(), y.data(), index.data());
    k.max_pool_backward(s, dy.data(), index.data(), nullptr, dx.data());
    k.max_pool_backward(s, dy.data(), index.data(), y.data(), masked.data());

    std::vector<float> want_dx(x.size()), want_masked(x.size());
    int64_t o = 0;
    for (int64_t n = 0; n < s.images; ++n) {
      for (int oh = 0; oh < s.out_h; ++oh) {
        for (int ow = 0; ow < s.out_w; ++ow) {
          for (int ch = 0; ch < c; ++ch, ++o) {
            float best = -INFINITY;
            int64_t at = -1;
            for (int kh = 0; kh < s.kernel_h; ++kh) {
              for (int kw = 0; kw < s.kernel_w; ++kw) {
                const int h = oh * s.stride_h - s.pad_top + kh,
                          w = ow * s.stride_w - s.pad_left + kw;
                if (h < 0 || w < 0 || h >= s.in_h || w >= s.in_w) continue;
                const int64_t i = ((n * s.in_h + h) * s.in_w + w) * c + ch;
                if (x[i] > best) best = x[i], at = i;
              }
            }
            ASSERT_EQ(y[o], best);
            want_dx[at] += dy[o];
            if (best > 0) want_masked[at] += dy[o];
          }
        }
      }
    }
    EXPECT_EQ(dx, want_dx);
    EXPECT_EQ(masked, want_masked);
    std::vector<float> without_index(outputs);
    k.max_pool_forward(s, x.data(), without_index.data(), nullptr);
    EXPECT_EQ(without_index, y);
  }
}

TEST_P(KernelTable, AveragePoolCountsOnlyWhatIsThere) {
  const PoolShape s{1, 3, 3, 1, 2, 2, 2, 2, 2, 2, 0, 0};
  const std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  std::vector<float> y(4), dx(9);
  k.average_pool_forward(s, x.data(), y.data());
  EXPECT_EQ(y, (std::vector<float>{3, 4.5, 7.5, 9}));
  const std::vector<float> dy = {4, 2, 6, 8};
  k.average_pool_backward(s, dy.data(), dx.data());
  EXPECT_EQ(dx, (std::vector<float>{1, 1, 1, 1, 1, 1, 3, 3, 8}));
}

// Channels that fill no vector, one, and more than one; windows side by side, apart, over one
// another and over the edge.
TEST_P(KernelTable, AveragePoolIsTheMeanOfEachWindowAndSharesTheGradient) {
  for (const int channels : {1, 6, 8, 16, 19, 35}) {
    for (const PoolShape& s : {PoolShape{3, 6, 4, channels, 3, 2, 2, 2, 2, 2, 0, 0},
                               PoolShape{2, 7, 5, channels, 3, 2, 2, 2, 2, 2, 0, 0},
                               PoolShape{1, 5, 5, channels, 5, 5, 3, 3, 1, 1, 1, 1},
                               PoolShape{2, 9, 9, channels, 3, 3, 3, 3, 3, 3, 0, 0},
                               PoolShape{1, 9, 9, channels, 3, 3, 2, 2, 3, 3, 0, 0}}) {
      const int64_t outputs = s.images * s.out_h * s.out_w * channels;
      const std::vector<float> x = Numbers(s.images * s.in_h * s.in_w * channels),
                               dy = Numbers(outputs);
      std::vector<float> y(outputs, 5), dx(x.size(), 5), want(outputs), want_dx(x.size());
      k.average_pool_forward(s, x.data(), y.data());
      k.average_pool_backward(s, dy.data(), dx.data());
      for (int64_t o = 0; o < outputs; ++o) {
        const int64_t channel = o % channels, ow = o / channels % s.out_w,
                      oh = o / channels / s.out_w % s.out_h, n = o / channels / s.out_w / s.out_h;
        std::vector<int64_t> window;
        for (int kh = 0; kh < s.kernel_h; ++kh) {
          for (int kw = 0; kw < s.kernel_w; ++kw) {
            const int64_t h = oh * s.stride_h - s.pad_top + kh,
                          w = ow * s.stride_w - s.pad_left + kw;
            if (h < 0 || w < 0 || h >= s.in_h || w >= s.in_w) continue;
            window.push_back(((n * s.in_h + h) * s.in_w + w) * channels + channel);
          }
        }
        float sum = 0;
        for (const int64_t i : window) sum += x[i];
        want[o] = sum * (1.0f / static_cast<float>(window.size()));
        for (const int64_t i : window)
          want_dx[i] += dy[o] * (1.0f / static_cast<float>(window.size()));
      }
      EXPECT_EQ(y, want) << channels;
      // Where windows overlap a product may be rounded together with the sum or before it.
      EXPECT_THAT(dx, Pointwise(FloatNear(1e-6f), want_dx)) << channels;
    }
  }
}

TEST_P(KernelTable, DenseForwardAndBackwardAreTheSumsTheySay) {
  for (int64_t units : {1, 10, 16, 17, 40, 64}) {
    for (int64_t rows : {1, 3, 4, 9}) {
      const int64_t inputs = 37, stride = PaddedUnits(units);
      const std::vector<float> x = Numbers(rows * inputs), bias = Numbers(units);
      std::vector<float> w(inputs * stride), wt(units * inputs), y(rows * units),
          relu(rows * units);
      const std::vector<float> dense = Numbers(inputs * units), dy = Numbers(rows * units);
      std::vector<float> padded(rows * stride), dx(rows * inputs), dw(inputs * stride), db(units);
      for (int64_t i = 0; i < inputs; ++i)
        for (int64_t j = 0; j < units; ++j)
          w[i * stride + j] = wt[j * inputs + i] = dense[i * units + j];
      for (int64_t n = 0; n < rows; ++n)
        for (int64_t j = 0; j < units; ++j) padded[n * stride + j] = dy[n * units + j];
      k.dense_forward(rows, inputs, units, x.data(), w.data(), bias.data(), false, y.data());
      k.dense_forward(rows, inputs, units, x.data(), w.data(), bias.data(), true, relu.data());
      k.dense_backward_data(rows, inputs, units, dy.data(), wt.data(), dx.data());
      k.dense_backward_weights(rows, inputs, units, x.data(), padded.data(), dw.data(), db.data());
      // Sixteenths of modest size add without rounding in float, so the comparison is exact.
      for (int64_t n = 0; n < rows; ++n) {
        for (int64_t j = 0; j < units; ++j) {
          double sum = bias[j];
          for (int64_t i = 0; i < inputs; ++i)
            sum += double{x[n * inputs + i]} * dense[i * units + j];
          ASSERT_EQ(y[n * units + j], sum);
          ASSERT_EQ(relu[n * units + j], std::max(0.0, sum));
        }
        for (int64_t i = 0; i < inputs; ++i) {
          double sum = 0;
          for (int64_t j = 0; j < units; ++j)
            sum += double{dy[n * units + j]} * dense[i * units + j];
          ASSERT_EQ(dx[n * inputs + i], sum);
        }
      }
      for (int64_t j = 0; j < units; ++j) {
        double bias_sum = 0;
        for (int64_t n = 0; n < rows; ++n) bias_sum += dy[n * units + j];
        ASSERT_EQ(db[j], bias_sum);
        for (int64_t i = 0; i < inputs; ++i) {
          double sum = 0;
          for (int64_t n = 0; n < rows; ++n) sum += double{x[n * inputs + i]} * dy[n * units + j];
          ASSERT_EQ(dw[i * stride + j], sum);
        }
      }
    }
  }
}

TEST_P(KernelTable, DropoutDrawsItsOwnSamplesWords) {
  const int64_t n = 131;
  const std::vector<float> x = Numbers(n);
  std::vector<float> y(n), dx(n);
  std::vector<uint8_t> keep(n);
  const uint64_t seed = 0x123456789abcdefull;
  const uint32_t threshold = DropoutThreshold(0.5f);
  EXPECT_EQ(threshold, 0x80000000u);
  k.dropout_forward(n, 42, 3, 3u << 24 | 5, seed, threshold, 2.0f, x.data(), y.data(), keep.data());
  k.dropout_backward(n, keep.data(), 2.0f, x.data(), dx.data());
  const RandomStream stream = {
      .seed = seed, .purpose = RandomPurpose::kDropout, .index = 5, .epoch = 3, .sample = 42};
  int kept = 0;
  for (int64_t e = 0; e < n; ++e) {
    const bool keeps = RandomBlock(stream, e / 4)[e % 4] >= threshold;
    EXPECT_EQ(keep[e], keeps ? 1 : 0) << e;
    EXPECT_EQ(y[e], keeps ? 2 * x[e] : 0.0f) << e;
    EXPECT_EQ(dx[e], y[e]) << e;
    kept += keeps;
  }
  EXPECT_GT(kept, 40);
  EXPECT_LT(kept, 91);
}

TEST_P(KernelTable, SumRowsAddsEachColumn) {
  for (const auto& [rows, columns] :
       {std::pair<int64_t, int64_t>{1, 1}, {50, 1}, {2, 6}, {40, 6}, {3, 16}, {10, 35}, {37, 32}}) {
    const std::vector<float> x = Numbers(rows * columns);
    std::vector<float> sums(columns, -1), want(columns);
    k.sum_rows(rows, columns, x.data(), sums.data());
    // Quarters: exact in any order.
    for (int64_t i = 0; i < rows * columns; ++i) want[i % columns] += x[i];
    EXPECT_EQ(sums, want) << rows << " x " << columns;
  }
}

TEST_P(KernelTable, ElementwiseKernelsDoWhatTheySay) {
  const int64_t n = 37;
  const std::vector<float> a = Numbers(n), b = Numbers(n);
  std::vector<float> sum = b, masked = b;
  k.add(n, a.data(), sum.data());
  k.relu_mask(n, a.data(), masked.data());
  std::vector<uint8_t> bytes(n);
  for (int64_t i = 0; i < n; ++i) bytes[i] = static_cast<uint8_t>(7 * i);
  std::vector<float> scaled(n);
  k.scale_uint8(n, bytes.data(), 0.5f, scaled.data());
  for (int64_t i = 0; i < n; ++i) {
    EXPECT_EQ(sum[i], a[i] + b[i]);
    EXPECT_EQ(masked[i], a[i] > 0 ? b[i] : 0.0f);
    EXPECT_EQ(scaled[i], bytes[i] / 2.0f);
  }
}

TEST_P(KernelTable, AdamTakesTheStepCountedByHand) {
  // First step from zero moments: m = (1-b1) g, v = (1-b2) g^2, so the step is lr * g / (|g| +
  // eps): nearly lr.
  const AdamStep step = {0.9f, 0.1f, 0.999f, 0.001f, 0.001f / 0.1f, 1 / std::sqrt(0.001f), 1e-7f};
  std::vector<float> g = {2, -0.5f, 0}, m(3), v(3), w = {1, 1, 1};
  k.adam(3, step, g.data(), m.data(), v.data(), w.data());
  EXPECT_NEAR(w[0], 0.999, 1e-6);
  EXPECT_NEAR(w[1], 1.001, 1e-6);
  EXPECT_EQ(w[2], 1);
  EXPECT_NEAR(m[0], 0.2, 1e-7);
  EXPECT_NEAR(v[0], 0.004, 1e-8);
}

// What is below the normal numbers makes each step take many times as long.
TEST_P(KernelTable, MomentsThatFadeAwayEndAtZero) {
  constexpr int kWeights = 37;
  const float least = std::numeric_limits<float>::min();
  const std::vector<float> g(kWeights, 0.0f);
  std::vector<float> m(kWeights, -least), v(kWeights, least), buffer(kWeights, least);
  std::vector<float> w(kWeights, 1.0f);
  m[20] = 2 * least;  // stays a normal number
  const AdamStep step = {0.9f, 0.1f, 0.999f, 0.001f, 0.01f, 1.0f, 1e-7f};
  k.adam(kWeights, step, g.data(), m.data(), v.data(), w.data());
  k.sgd(kWeights, 0.5f, 0.5f, false, g.data(), buffer.data(), w.data());
  for (int i = 0; i < kWeights; ++i) {
    EXPECT_EQ(m[i], i == 20 ? 0.9f * (2 * least) : 0.0f) << i;
    EXPECT_EQ(v[i], 0.0f) << i;
    EXPECT_EQ(buffer[i], 0.0f) << i;
    EXPECT_EQ(w[i], 1.0f) << i;
  }
}

TEST_P(KernelTable, SgdWithMomentumTakesTheStepsCountedByHand) {
  std::vector<float> g = {1}, buffer = {0}, w = {10};
  k.sgd(1, 0.5f, 0.5f, false, g.data(), buffer.data(), w.data());  // buffer 1, w 10 - 0.5
  k.sgd(1, 0.5f, 0.5f, false, g.data(), buffer.data(), w.data());  // buffer 1.5, w 9.5 - 0.75
  EXPECT_EQ(w[0], 8.75f);
  k.sgd(1, 0.5f, 0.5f, true, g.data(), buffer.data(),
        w.data());  // buffer 1.75, w - 0.5 * (1 + 0.875)
  EXPECT_EQ(w[0], 8.75f - 0.9375f);
}

INSTANTIATE_TEST_SUITE_P(All, KernelTable, ::testing::ValuesIn(KernelTables()), KernelTableName);

}  // namespace
}  // namespace convd
