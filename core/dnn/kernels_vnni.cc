// Compiled with -march=x86-64-v4 -mavx512vnni; only called where the CPU has it.
#include <immintrin.h>

#include "core/dnn/int8_kernels.h"

// NHWC puts the taps of a window's row side by side, so a kernel is kernel_h rows of bytes, and
// four of a row at a time meet 16 filters: one VPDPBUSD.

namespace convd {
namespace x86_64_v4_vnni {
namespace {

constexpr int kColumns = 6;  // of each of two rows that are computed at once, by two vectors

inline int64_t Smaller(int64_t a, int64_t b) { return a < b ? a : b; }

inline __m512i FourBytes(const uint8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, sizeof(four));
  return _mm512_set1_epi32(four);
}

// As an instruction, since around the intrinsic gcc 12 copies accumulators to and fro.
inline __attribute__((always_inline)) void AddProducts(__m512i& sum, __m512i bytes,
                                                       __m512i weights) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(bytes), "v"(weights));
}

// Sums of H rows by W columns of outputs and V vectors of filters. Columns beyond `columns` repeat
// the last one, and aren't stored.
template <int H, int W, int V>
inline __attribute__((always_inline)) void Sums(const Int8Shape& s, int64_t columns,
                                                const uint8_t* x, const int8_t* w,
                                                const int32_t* start, __m512i acc[H][W][V]) {
  const int64_t row = s.in_w * s.channels, steps = Int8Steps(s);
  const int64_t w_step = PaddedFilters(s.filters) * kInt8Taps;
#pragma GCC unroll 2
  for (int v = 0; v < V; ++v) {
    const __m512i from = _mm512_loadu_si512(start + v * kInt8Filters);
#pragma GCC unroll 2
    for (int h = 0; h < H; ++h)
#pragma GCC unroll 8
      for (int i = 0; i < W; ++i) acc[h][i][v] = from;
  }
  int64_t at[W];
  for (int i = 0; i < W; ++i) at[i] = Smaller(i, columns - 1) * s.stride_w * s.channels;
  for (int kh = 0; kh < s.kernel_h; ++kh, x += row) {
    for (int64_t k = 0; k < steps; ++k, w += w_step) {
      __m512i weight[V];
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) weight[v] = _mm512_loadu_si512(w + v * kInt8Filters * kInt8Taps);
#pragma GCC unroll 2
      for (int h = 0; h < H; ++h) {
        const uint8_t* const from = x + h * s.stride_h * row + k * kInt8Taps;
#pragma GCC unroll 8
        for (int i = 0; i < W; ++i) {
          const __m512i pixels = FourBytes(from + at[i]);
#pragma GCC unroll 2
          for (int v = 0; v < V; ++v)
            AddProducts(acc[h][i][v], pixels, weight[v]);
        }
      }
    }
  }
}

// Writes 16 filters from f on of one output, of which there may be fewer.
inline __attribute__((always_inline)) void StoreOutput(const Int8Shape& s, int64_t f,
                                                       const Int8Outputs& to, __m512i sum, void* y,
                                                       int64_t at) {
  const __m512 value =
      _mm512_fmadd_ps(_mm512_maskz_cvtepi32_ps(0xFFFF, sum), _mm512_loadu_ps(to.scale + f),
                      _mm512_loadu_ps(to.offset + f));
  const int64_t left = s.filters - f;
  const __mmask16 mask = left >= kInt8Filters ? 0xFFFF : static_cast<__mmask16>((1u << left) - 1);
  if (s.bytes) {
    // What is too large for an integer becomes the least one: bounded before.
    const __m512 bounded = _mm512_maskz_min_ps(
        0xFFFF, _mm512_maskz_max_ps(0xFFFF, value, _mm512_setzero_ps()), _mm512_set1_ps(255.0f));
    const __m512i whole = _mm512_maskz_max_epi32(0xFFFF, _mm512_maskz_cvtps_epi32(0xFFFF, bounded),
                                                 _mm512_set1_epi32(s.least));
    _mm_mask_storeu_epi8(static_cast<uint8_t*>(y) + at + f, mask,
                         _mm512_maskz_cvtepi32_epi8(0xFFFF, whole));
  } else {
    const __m512 out = s.relu ? _mm512_maskz_max_ps(0xFFFF, value, _mm512_setzero_ps()) : value;
    _mm512_mask_storeu_ps(static_cast<float*>(y) + at + f, mask, out);
  }
}

// Outputs of H rows and up to W columns from (oh, ow) on, or with a pool the largest of each 2x2.
template <int H, int W, int V>
inline void Block(const Int8Shape& s, int64_t n, int64_t oh, int64_t ow, int64_t columns, int64_t f,
                  const uint8_t* x, const int8_t* w, const Int8Outputs& to, void* y) {
  __m512i acc[H][W][V];
  const uint8_t* const from =
      x + ((n * s.in_h + oh * s.stride_h) * s.in_w + ow * s.stride_w) * s.channels;
  Sums<H, W, V>(s, columns, from, w + f * kInt8Taps, to.start + f, acc);
#pragma GCC unroll 2
  for (int v = 0; v < V; ++v) {
    const int64_t filter = f + v * kInt8Filters;
    if (H == 2 && s.pool) {
      const int64_t at = ((n * (s.out_h / 2) + oh / 2) * (s.out_w / 2) + ow / 2) * s.filters;
#pragma GCC unroll 8
      for (int i = 0; i + 1 < W; i += 2) {
        if (i + 1 >= columns) break;
        const __m512i upper = _mm512_maskz_max_epi32(0xFFFF, acc[0][i][v], acc[0][i + 1][v]);
        const __m512i lower =
            _mm512_maskz_max_epi32(0xFFFF, acc[H - 1][i][v], acc[H - 1][i + 1][v]);
        StoreOutput(s, filter, to, _mm512_maskz_max_epi32(0xFFFF, upper, lower), y,
                    at + i / 2 * s.filters);
      }
      continue;
    }
#pragma GCC unroll 2
    for (int h = 0; h < H; ++h) {
      const int64_t at = ((n * s.out_h + oh + h) * s.out_w + ow) * s.filters;
#pragma GCC unroll 8
      for (int i = 0; i < W; ++i) {
        if (i >= columns) break;
        StoreOutput(s, filter, to, acc[h][i][v], y, at + i * s.filters);
      }
    }
  }
}

template <int H, int V>
inline void Rows(const Int8Shape& s, int64_t n, int64_t oh, int64_t f, const uint8_t* x,
                 const int8_t* w, const Int8Outputs& to, void* y) {
  constexpr int W = kColumns * 2 / V > 8 ? 8 : kColumns * 2 / V;
  const int64_t out_w = s.pool ? s.out_w / 2 * 2 : s.out_w;
  int64_t ow = 0;
  for (; ow + W <= out_w; ow += W) Block<H, W, V>(s, n, oh, ow, W, f, x, w, to, y);
  const int64_t left = out_w - ow;
  if (left > 4) {
    Block<H, W, V>(s, n, oh, ow, left, f, x, w, to, y);
  } else if (left > 2) {
    Block<H, 4, V>(s, n, oh, ow, left, f, x, w, to, y);
  } else if (left > 0) {
    Block<H, 2, V>(s, n, oh, ow, left, f, x, w, to, y);
  }
}

// V vectors of filters from f on, of all outputs of an image.
template <int V>
inline void Filters(const Int8Shape& s, int64_t n, int64_t f, const uint8_t* x, const int8_t* w,
                    const Int8Outputs& to, void* y) {
  int64_t oh = 0;
  for (; oh + 2 <= s.out_h; oh += 2) Rows<2, V>(s, n, oh, f, x, w, to, y);
  if (oh < s.out_h && !s.pool) Rows<1, V>(s, n, oh, f, x, w, to, y);
}

void Convolution(const Int8Shape& s, const uint8_t* x, const int8_t* w, const Int8Outputs& to,
                 void* y) {
  const int64_t filters = PaddedFilters(s.filters);
  for (int64_t n = 0; n < s.images; ++n) {
    int64_t f = 0;
    for (; f + 2 * kInt8Filters <= filters; f += 2 * kInt8Filters) Filters<2>(s, n, f, x, w, to, y);
    if (f < filters) Filters<1>(s, n, f, x, w, to, y);
  }
}

void Quantize(int64_t n, const float* x, float inverse_scale, int32_t zero, uint8_t* y) {
  const __m512 factor = _mm512_set1_ps(inverse_scale);
  // Of the rounded product, so that with the zero it is within a byte; NaN becomes the first.
  const __m512 least = _mm512_set1_ps(static_cast<float>(-zero));
  const __m512 most = _mm512_set1_ps(static_cast<float>(255 - zero));
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 mask = n - i >= 16 ? 0xFFFF : static_cast<__mmask16>((1u << (n - i)) - 1);
    const __m512 value = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), factor);
    const __m512 bounded =
        _mm512_maskz_min_ps(0xFFFF, _mm512_maskz_max_ps(0xFFFF, value, least), most);
    const __m512i whole = _mm512_maskz_add_epi32(0xFFFF, _mm512_maskz_cvtps_epi32(0xFFFF, bounded),
                                                 _mm512_set1_epi32(zero));
    _mm_mask_storeu_epi8(y + i, mask, _mm512_maskz_cvtepi32_epi8(0xFFFF, whole));
  }
}

}  // namespace
}  // namespace x86_64_v4_vnni

const Int8Kernels kKernelsVnni = {
    .name = "x86-64-v4-vnni",
    .convolution = x86_64_v4_vnni::Convolution,
    .quantize = x86_64_v4_vnni::Quantize,
};

}  // namespace convd
