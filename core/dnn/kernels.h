#ifndef CONVD_CORE_DNN_KERNELS_H_
#define CONVD_CORE_DNN_KERNELS_H_

#include <cstdint>

namespace convd {

// Dense kernels are stored with their units padded to a multiple of this, zeros in the padding.
inline constexpr int kUnitBlock = 16;
constexpr int64_t PaddedUnits(int64_t units) {
  return (units + kUnitBlock - 1) / kUnitBlock * kUnitBlock;
}

// A pooling window over NHWC images.
struct PoolShape {
  int64_t images = 0;
  int in_h = 0, in_w = 0, channels = 0;
  int out_h = 0, out_w = 0;
  int kernel_h = 0, kernel_w = 0;
  int stride_h = 0, stride_w = 0;
  int pad_top = 0, pad_left = 0;
};

// A convolution of 3x3 with stride 1 by Winograd's F(4x4, 3x3), with what follows it while a tile's
// outputs are in registers. Channels and filters are multiples of 16.
struct WinogradShape {
  int64_t images = 0;
  int in_h = 0, in_w = 0, channels = 0;
  int out_h = 0, out_w = 0, filters = 0;  // of the convolution, before a pool
  int pad_top = 0, pad_left = 0;
  bool relu = false;
  bool pool = false;  // max pool of 2x2, stride 2, after it; an odd last row or column is left out
  int64_t block = 0;  // tiles at a time: what lies between transforms and products is of this size
};
constexpr int64_t WinogradTiles(const WinogradShape& s) {
  return s.images * ((s.out_h + 3) / 4) * ((s.out_w + 3) / 4);
}
// Tiles of all images, in their order. A call for the first of two ranges comes before that for the
// second; all but the last are a multiple of the block.
struct TileRange {
  int64_t begin = 0, end = 0;
};
// Points of a tile, that is, of a transformed kernel.
inline constexpr int kWinogradPoints = 36;
// Floats of scratch that forward and backward need, whatever the points' type; of bf16 with a block
// of an even number of tiles.
constexpr int64_t WinogradScratch(const WinogradShape& s, bool backward) {
  return kWinogradPoints * (s.block * (s.channels + s.filters) + 48 +
                            (backward ? int64_t{s.channels} * s.filters : 0));
}

// A first layer's convolution with stride 1 and no padding, and what follows it. Weights and bias
// have their filters padded to PaddedUnits, zeros in the padding.
struct NarrowShape {
  int64_t images = 0;
  int in_h = 0, in_w = 0, channels = 0;   // with the layer's padding
  int out_h = 0, out_w = 0, filters = 0;  // of the convolution, before a pool
  int kernel_h = 0, kernel_w = 0;
  bool relu = false;
  bool pool = false;  // as WinogradShape's
};
constexpr int64_t NarrowOutputs(const NarrowShape& s) {
  return (s.pool ? int64_t{s.out_h / 2} * (s.out_w / 2) : int64_t{s.out_h} * s.out_w) * s.filters;
}

// Figures of one Adam step, worked out in double once a step.
struct AdamStep {
  float beta_1, one_minus_beta_1, beta_2, one_minus_beta_2;
  float step_size;          // learning_rate / (1 - beta_1^t)
  float inverse_root_bias;  // 1 / sqrt(1 - beta_2^t)
  float epsilon;
};

// Winograd's convolution with points of one type. Arrays are float, and so are the sums; `u`, `ut`
// and the scratch are in lanes of 32 bits, each of one f32 or two bf16.
struct WinogradKernels {
  // The points u (36 x channels x filters) of a kernel w (3 x 3 x channels x filters); also of
  // channels and filters exchanged. Of bf16 neighbouring channels share a lane.
  void (*weights)(int64_t channels, int64_t filters, const float* w, float* u);
  // `bias` may be null. With a pool, `index`, if not null, gets which of the four won.
  void (*forward)(const WinogradShape&, const TileRange&, const float* x, const float* u,
                  const float* bias, float* y, uint8_t* index, float* scratch);
  // From the gradient dy of what forward wrote: dw (3 x 3 x channels x filters), db (may be null),
  // and dx (may be null; written whole), for which ut has the points of the kernel with channels
  // and filters exchanged, unflipped. With a ReLU, y is what forward wrote. Between the calls for
  // two ranges the scratch is left alone; dw is written by the last.
  void (*backward)(const WinogradShape&, const TileRange&, const float* x, const float* dy,
                   const float* y, const uint8_t* index, const float* ut, float* dw, float* db,
                   float* dx, float* scratch);
};

// The engine's own kernels, compiled once an instruction set (kernels_v3.cc, kernels_v4.cc) from
// the *_body.inc files. All arrays are float, NHWC or rows; every element's additions run in one
// fixed order, so a row's bits don't depend on the rows beside it. Any thread may call.
struct Kernels {
  const char* name;
  // `index`, if not null, gets which position of the window won (the first of equal ones), one byte
  // an output; it takes a window of at most 256 positions then.
  void (*max_pool_forward)(const PoolShape&, const float* x, float* y, uint8_t* index);
  // dx is written whole. With `y` not null the gradient passes only where y > 0: the mask of a ReLU
  // before the pool.
  void (*max_pool_backward)(const PoolShape&, const float* dy, const uint8_t* index, const float* y,
                            float* dx);
  // The same for windows of any size: plain loops.
  void (*wide_max_pool_forward)(const PoolShape&, const float* x, float* y, int32_t* index);
  void (*wide_max_pool_backward)(const PoolShape&, const float* dy, const int32_t* index,
                                 const float* y, float* dx);
  // Padded positions don't count in the mean.
  void (*average_pool_forward)(const PoolShape&, const float* x, float* y);
  void (*average_pool_backward)(const PoolShape&, const float* dy, float* dx);
  // y[n][j] = bias[j] + sum over k of x[n][k] w[k][j]; w is inputs x PaddedUnits(units), y is rows
  // x units.
  void (*dense_forward)(int64_t rows, int64_t inputs, int64_t units, const float* x, const float* w,
                        const float* bias, bool relu, float* y);
  // dx[n][k] = sum over j of dy[n][j] wt[j][k]; wt is units x inputs.
  void (*dense_backward_data)(int64_t rows, int64_t inputs, int64_t units, const float* dy,
                              const float* wt, float* dx);
  // dw[k][j] = sum over n of x[n][k] dy[n][j]; dy has PaddedUnits(units) columns, zeros in the
  // padding; db may be null.
  void (*dense_backward_weights)(int64_t rows, int64_t inputs, int64_t units, const float* x,
                                 const float* dy, float* dw, float* db);
  // sums[j] = sum over r of x[r][j]: every fourth row a chain, the four added in pairs.
  void (*sum_rows)(int64_t rows, int64_t columns, const float* x, float* sums);
  void (*relu_mask)(int64_t n, const float* y, float* dy);  // dy = y > 0 ? dy : 0
  void (*add)(int64_t n, const float* b, float* a);         // a += b
  void (*scale_uint8)(int64_t n, const uint8_t* x, float scale, float* y);
  // Dropout by Philox (core/random/random.h): block i of counter {i, sample, epoch, purpose_index}
  // and the key gives elements 4i to 4i+3; keep[e] = word >= threshold; y = keep ? x * scale : 0.
  void (*dropout_forward)(int64_t n, uint32_t sample, uint32_t epoch, uint32_t purpose_index,
                          uint64_t seed, uint32_t threshold, float scale, const float* x, float* y,
                          uint8_t* keep);
  void (*dropout_backward)(int64_t n, const uint8_t* keep, float scale, const float* dy, float* dx);
  // In these two, what is below the normal numbers counts as zero.
  void (*adam)(int64_t n, const AdamStep&, const float* g, float* m, float* v, float* w);
  void (*sgd)(int64_t n, float learning_rate, float momentum, bool nesterov, const float* g,
              float* buffer, float* w);

  WinogradKernels winograd;  // in f32

  // w is kernel_h x kernel_w x channels x PaddedUnits(filters), and so is dw, with zeros in the
  // padding; so are bias and db (either may be null), PaddedUnits(filters). With a ReLU, dy is zero
  // afterwards where it doesn't pass.
  void (*narrow_forward)(const NarrowShape&, const float* x, const float* w, const float* bias,
                         float* y, uint8_t* index);
  void (*narrow_backward)(const NarrowShape&, const float* x, float* dy, const float* y,
                          const uint8_t* index, float* dw, float* db);
};

// The table for oneDNN's effective instruction set, so that one switch (--isa, ONEDNN_MAX_CPU_ISA)
// moves both.
const Kernels& ActiveKernels();

// What bf16 has of its own: factors are rounded to bfloat16 (to the nearest, of two the even one),
// products and sums are f32's. As VDPBF16PS has it, numbers below f32's normal ones are zero.
struct Bf16Kernels {
  const char* name;
  WinogradKernels winograd;
  void (*from_float)(int64_t n, const float* x, uint16_t* y);
};
// Null where the effective instruction set has no bf16.
const Bf16Kernels* ActiveBf16Kernels();

extern const Kernels kKernelsV3;        // x86-64-v3: AVX2, FMA
extern const Kernels kKernelsV4;        // x86-64-v4: AVX-512 F, BW, CD, DQ, VL
extern const Bf16Kernels kKernelsBf16;  // the same and AVX512-BF16

}  // namespace convd

#endif  // CONVD_CORE_DNN_KERNELS_H_
