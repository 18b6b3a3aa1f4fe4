#ifndef CONVD_CORE_DNN_INT8_KERNELS_H_
#define CONVD_CORE_DNN_INT8_KERNELS_H_

#include <cstdint>

namespace convd {

// Filters are computed by this many; their arrays are padded to a multiple, with zeros.
inline constexpr int kInt8Filters = 16;
constexpr int64_t PaddedFilters(int64_t filters) {
  return (filters + kInt8Filters - 1) / kInt8Filters * kInt8Filters;
}
// Weights of a filter meet pixels by this many.
inline constexpr int kInt8Taps = 4;
// Bytes that are read beyond the last image, whatever they hold.
inline constexpr int kInt8Slack = kInt8Taps - 1;

// A convolution of NHWC bytes, without padding and dilation: what pads an image is part of it. A
// dense layer is one of kernel_h 1 over a row of images, each a pixel.
struct Int8Shape {
  int64_t images = 0;
  int64_t in_h = 0, in_w = 0, channels = 0;
  int64_t out_h = 0, out_w = 0;  // before a pool
  int64_t filters = 0;
  int kernel_h = 0;
  int64_t row_taps = 0;  // of one row of the window: kernel_w * channels
  int stride_h = 1, stride_w = 1;
  bool pool = false;   // max pool of 2x2, stride 2, after it; an odd last row or column is left out
  bool bytes = false;  // writes bytes, else floats
  int32_t least = 0;   // of bytes: what stands for zero where a ReLU follows, else 0
  bool relu = false;   // of floats
};
constexpr int64_t Int8Steps(const Int8Shape& s) { return (s.row_taps + kInt8Taps - 1) / kInt8Taps; }
// Bytes of all weights: kernel_h x steps x PaddedFilters(filters) x kInt8Taps, zeros beyond the
// taps of a row.
constexpr int64_t Int8WeightBytes(const Int8Shape& s) {
  return s.kernel_h * Int8Steps(s) * PaddedFilters(s.filters) * kInt8Taps;
}

// Filters that are computed at a time, and rows of outputs (of them two, of a pool's one).
inline constexpr int kInt8BlockFilters = 2 * kInt8Filters;
constexpr int64_t Int8Blocks(const Int8Shape& s) {
  return (s.filters + kInt8BlockFilters - 1) / kInt8BlockFilters;
}
constexpr int64_t Int8Rows(const Int8Shape& s) { return s.pool ? s.out_h / 2 : (s.out_h + 1) / 2; }
// A convolution's parts, each of an image, a block of its filters and one of the rows above, in
// this order; any range of them can be computed apart, and comes to the same bits.
constexpr int64_t Int8Parts(const Int8Shape& s) { return s.images * Int8Blocks(s) * Int8Rows(s); }
struct Int8Range {
  int64_t begin = 0, end = 0;
};

// What a sum of products becomes, by filter (arrays of PaddedFilters(filters)): sum + start, an
// exact integer, times scale plus offset, one multiply-add in f32. Bytes are that rounded to the
// nearest (of two the even one), within `least` and 255.
struct Int8Outputs {
  const int32_t* start = nullptr;
  const float* scale = nullptr;  // above 0, so that a pool may come before it
  const float* offset = nullptr;
};

// Kernels on bytes by VPDPBUSD, which adds four products of 8 bits to an integer of 32 without
// saturating. Any thread may call.
struct Int8Kernels {
  const char* name;
  // Those outputs of y that are the range's. x is bytes from 0 to 255, w from -127 to 127; y floats
  // or bytes, NHWC. REQUIRES: kernel_h * row_taps <= 65536, or sums pass 32 bits.
  void (*convolution)(const Int8Shape&, Int8Range, const uint8_t* x, const int8_t* w,
                      const Int8Outputs&, void* y);
  // y = x * inverse_scale, rounded as above, + zero, within 0 and 255.
  void (*quantize)(int64_t n, const float* x, float inverse_scale, int32_t zero, uint8_t* y);
};

// Null where the effective instruction set has no AVX512-VNNI.
const Int8Kernels* ActiveInt8Kernels();

extern const Int8Kernels kKernelsVnni;  // x86-64-v4 and AVX512-VNNI

}  // namespace convd

#endif  // CONVD_CORE_DNN_INT8_KERNELS_H_
