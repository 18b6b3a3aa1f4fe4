// Compiled with -march=x86-64-v4 -mavx512vnni; only called where the CPU has it.
#include <immintrin.h>

#include "core/dnn/int8_kernels.h"

// NHWC puts the taps of a window's row side by side, so a kernel is kernel_h rows of bytes, and
// four of a row at a time meet 16 filters: one VPDPBUSD.

namespace convd {
namespace x86_64_v4_vnni {
namespace {

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
#pragma GCC unroll 8
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
          for (int v = 0; v < V; ++v) AddProducts(acc[h][i][v], pixels, weight[v]);
        }
      }
    }
  }
}

// What becomes of the sums of 16 filters, of which there may be fewer. In registers, since a byte
// that is written might, for all that a compiler knows, be any of it.
template <bool kBytes>
struct Outputs {
  Outputs(const Int8Shape& s, const Int8Outputs& to, int64_t f)
      : scale(_mm512_loadu_ps(to.scale + f)),
        offset(_mm512_loadu_ps(to.offset + f)),
        least(_mm512_set1_epi32(s.least)),
        floor(_mm512_set1_ps(kBytes || s.relu ? 0 : -__builtin_inff())),
        mask(s.filters - f >= kInt8Filters ? 0xFFFF
                                           : static_cast<__mmask16>((1u << (s.filters - f)) - 1)) {}

  inline __attribute__((always_inline)) void Store(__m512i sum, void* y, int64_t at) const {
    __m512 value = _mm512_fmadd_ps(_mm512_maskz_cvtepi32_ps(0xFFFF, sum), scale, offset);
    value = _mm512_maskz_max_ps(0xFFFF, value, floor);
    if (kBytes) {
      // What is too large for an integer would become the least one.
      value = _mm512_maskz_min_ps(0xFFFF, value, _mm512_set1_ps(255.0f));
      const __m512i whole =
          _mm512_maskz_max_epi32(0xFFFF, _mm512_maskz_cvtps_epi32(0xFFFF, value), least);
      const __m128i bytes = _mm512_maskz_cvtepi32_epi8(0xFFFF, whole);
      if (mask == 0xFFFF) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(static_cast<uint8_t*>(y) + at), bytes);
      } else {
        _mm_mask_storeu_epi8(static_cast<uint8_t*>(y) + at, mask, bytes);
      }
    } else {
      _mm512_mask_storeu_ps(static_cast<float*>(y) + at, mask, value);
    }
  }

  __m512 scale, offset;
  __m512i least;
  __m512 floor;
  __mmask16 mask;
};

// Outputs of H rows and up to W columns from (oh, ow) on, or with a pool the largest of each 2x2.
template <int H, int W, int V, bool kPool, bool kBytes>
inline void Block(const Int8Shape& s, int64_t n, int64_t oh, int64_t ow, int64_t columns, int64_t f,
                  const uint8_t* x, const int8_t* w, const Int8Outputs& to, void* y) {
  __m512i acc[H][W][V];
  const uint8_t* const from =
      x + ((n * s.in_h + oh * s.stride_h) * s.in_w + ow * s.stride_w) * s.channels;
  Sums<H, W, V>(s, columns, from, w + f * kInt8Taps, to.start + f, acc);
  const int64_t filters = s.filters, row = s.out_w * filters;
  const int64_t at = kPool ? ((n * (s.out_h / 2) + oh / 2) * (s.out_w / 2) + ow / 2) * filters + f
                           : ((n * s.out_h + oh) * s.out_w + ow) * filters + f;
#pragma GCC unroll 2
  for (int v = 0; v < V; ++v) {
    const Outputs<kBytes> outputs(s, to, f + v * kInt8Filters);
    const int64_t first = at + v * kInt8Filters;
    if (kPool) {
#pragma GCC unroll 8
      for (int i = 0; i + 1 < W; i += 2) {
        if (i + 1 >= columns) break;
        const __m512i upper = _mm512_maskz_max_epi32(0xFFFF, acc[0][i][v], acc[0][i + 1][v]);
        const __m512i lower =
            _mm512_maskz_max_epi32(0xFFFF, acc[H - 1][i][v], acc[H - 1][i + 1][v]);
        outputs.Store(_mm512_maskz_max_epi32(0xFFFF, upper, lower), y, first + i / 2 * filters);
      }
      continue;
    }
#pragma GCC unroll 2
    for (int h = 0; h < H; ++h) {
#pragma GCC unroll 8
      for (int i = 0; i < W; ++i) {
        if (i >= columns) break;
        outputs.Store(acc[h][i][v], y, first + h * row + i * filters);
      }
    }
  }
}

template <int H, int V, bool kPool, bool kBytes>
inline void Rows(const Int8Shape& s, int64_t n, int64_t oh, int64_t f, const uint8_t* x,
                 const int8_t* w, const Int8Outputs& to, void* y) {
  constexpr int W = V == 1 ? 8 : 6;
  const int64_t out_w = kPool ? s.out_w / 2 * 2 : s.out_w;
  int64_t ow = 0;
  for (; ow + W <= out_w; ow += W) Block<H, W, V, kPool, kBytes>(s, n, oh, ow, W, f, x, w, to, y);
  const int64_t left = out_w - ow;
  if (left > 4) {
    Block<H, W, V, kPool, kBytes>(s, n, oh, ow, left, f, x, w, to, y);
  } else if (left > 2) {
    Block<H, 4, V, kPool, kBytes>(s, n, oh, ow, left, f, x, w, to, y);
  } else if (left > 0) {
    Block<H, 2, V, kPool, kBytes>(s, n, oh, ow, left, f, x, w, to, y);
  }
}

// V vectors of filters from f on, of all outputs of an image.
template <int V, bool kPool, bool kBytes>
inline void Filters(const Int8Shape& s, int64_t n, int64_t f, const uint8_t* x, const int8_t* w,
                    const Int8Outputs& to, void* y) {
  int64_t oh = 0;
  for (; oh + 2 <= s.out_h; oh += 2) Rows<2, V, kPool, kBytes>(s, n, oh, f, x, w, to, y);
  if (kPool || oh == s.out_h) return;
  Rows<1, V, false, kBytes>(s, n, oh, f, x, w, to, y);
}

template <bool kPool, bool kBytes>
void Images(const Int8Shape& s, const uint8_t* x, const int8_t* w, const Int8Outputs& to, void* y) {
  const int64_t filters = PaddedFilters(s.filters);
  for (int64_t n = 0; n < s.images; ++n) {
    int64_t f = 0;
    for (; f + 2 * kInt8Filters <= filters; f += 2 * kInt8Filters)
      Filters<2, kPool, kBytes>(s, n, f, x, w, to, y);
    if (f < filters) Filters<1, kPool, kBytes>(s, n, f, x, w, to, y);
  }
}

void Convolution(const Int8Shape& s, const uint8_t* x, const int8_t* w, const Int8Outputs& to,
                 void* y) {
  if (s.pool) {
    s.bytes ? Images<true, true>(s, x, w, to, y) : Images<true, false>(s, x, w, to, y);
  } else {
    s.bytes ? Images<false, true>(s, x, w, to, y) : Images<false, false>(s, x, w, to, y);
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
