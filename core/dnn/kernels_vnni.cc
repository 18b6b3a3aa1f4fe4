// Compiled with -march=x86-64-v4 -mavx512vnni; only called where the CPU has it.
#include <immintrin.h>

#include "core/dnn/int8_kernels.h"

// NHWC puts the taps of a window's row side by side, so a kernel is kernel_h rows of bytes, and
// four of a row at a time meet 16 filters: one VPDPBUSD.

namespace convd {
namespace x86_64_v4_vnni {
namespace {

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

// How many chains of sums an output is split into, so that as many are on their way as the
// multipliers take. Integers add up to the same in any order.
constexpr int Chains(int sums) { return sums >= 10 ? 1 : sums >= 5 ? 2 : sums >= 3 ? 4 : 8; }

// Sums of H rows by W columns of outputs and V vectors of filters.
template <int H, int W, int V>
inline __attribute__((always_inline)) void Sums(const Int8Shape& s, const uint8_t* x,
                                                const int8_t* w, const int32_t* start,
                                                __m512i acc[H][W][V]) {
  constexpr int C = Chains(H * W * V);
  const int64_t row = s.in_w * s.channels, below = s.stride_h * row, steps = Int8Steps(s);
  const int64_t w_step = PaddedFilters(s.filters) * kInt8Taps;
  __m512i chains[C][H][W][V];
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      const __m512i from =
          c == 0 ? _mm512_loadu_si512(start + v * kInt8Filters) : _mm512_setzero_si512();
#pragma GCC unroll 2
      for (int h = 0; h < H; ++h)
#pragma GCC unroll 8
        for (int i = 0; i < W; ++i) chains[c][h][i][v] = from;
    }
  }
  int64_t at[W];
#pragma GCC unroll 8
  for (int i = 0; i < W; ++i) at[i] = int64_t{i} * s.stride_w * s.channels;
  const auto step = [&](const uint8_t* const(&from)[H], int64_t ahead, __m512i sums[H][W][V])
                        __attribute__((always_inline)) {
                          __m512i weight[V];
#pragma GCC unroll 2
                          for (int v = 0; v < V; ++v)
                            weight[v] = _mm512_loadu_si512(w + v * kInt8Filters * kInt8Taps);
                          w += w_step;
#pragma GCC unroll 2
                          for (int h = 0; h < H; ++h) {
#pragma GCC unroll 8
                            for (int i = 0; i < W; ++i) {
                              const __m512i pixels = FourBytes(from[h] + at[i] + ahead);
#pragma GCC unroll 2
                              for (int v = 0; v < V; ++v)
                                AddProducts(sums[h][i][v], pixels, weight[v]);
                            }
                          }
                        };
  for (int kh = 0; kh < s.kernel_h; ++kh, x += row) {
    const uint8_t* from[H];
#pragma GCC unroll 2
    for (int h = 0; h < H; ++h) {
      from[h] = x + h * below;
      // Else gcc 12 keeps an offset for each output, many more than there are registers for.
      if (H * W > 8) asm("" : "+r"(from[h]));
    }
    int64_t left = steps;
    for (; left >= C; left -= C) {
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) step(from, c * kInt8Taps, chains[c]);
#pragma GCC unroll 2
      for (int h = 0; h < H; ++h) from[h] += C * kInt8Taps;
    }
    if constexpr (C > 1) {
      for (; left > 0; --left) {
        step(from, 0, chains[0]);
#pragma GCC unroll 2
        for (int h = 0; h < H; ++h) from[h] += kInt8Taps;
      }
    }
  }
#pragma GCC unroll 2
  for (int h = 0; h < H; ++h)
#pragma GCC unroll 8
    for (int i = 0; i < W; ++i)
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) {
        __m512i sum = chains[0][h][i][v];
#pragma GCC unroll 8
        for (int c = 1; c < C; ++c) sum = _mm512_maskz_add_epi32(0xFFFF, sum, chains[c][h][i][v]);
        acc[h][i][v] = sum;
      }
}

// To integers of which what a byte can't hold saturates as it should: of what is too large for an
// integer it would become the least one, as NaN does.
inline __m512i Rounded(__m512 value) {
  return _mm512_maskz_cvtps_epi32(0xFFFF,
                                  _mm512_maskz_min_ps(0xFFFF, _mm512_set1_ps(255.0f), value));
}

// Four vectors of integers, saturated to bytes, in order.
inline __m512i ToBytes(__m512i a, __m512i b, __m512i c, __m512i d) {
  const __m512i mixed = _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
  return _mm512_maskz_permutexvar_epi32(
      0xFFFF, _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), mixed);
}

// What becomes of the sums of V vectors of filters from f on, of which the last may be fewer. In
// registers, since a byte that is written might, for all that a compiler knows, be any of it.
template <int V, bool kBytes>
struct Outputs {
  Outputs(const Int8Shape& s, const Int8Outputs& to, int64_t f)
      : least(_mm512_set1_epi8(static_cast<char>(s.least))),
        floor(_mm512_set1_ps(s.relu ? 0 : -__builtin_inff())),
        filters(s.filters),
        whole(s.filters - f >= V * kInt8Filters),
        mask(whole ? static_cast<uint32_t>((uint64_t{1} << (V * kInt8Filters)) - 1)
                   : (1u << (s.filters - f)) - 1) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      scale[v] = _mm512_loadu_ps(to.scale + f + v * kInt8Filters);
      offset[v] = _mm512_loadu_ps(to.offset + f + v * kInt8Filters);
    }
  }

  // Two outputs side by side: their bytes fill a vector, so that it takes half the instructions.
  inline __attribute__((always_inline)) void StoreTwo(const __m512i first[V],
                                                      const __m512i second[V], void* y,
                                                      int64_t at) const {
    if constexpr (kBytes) {
      // Of one vector of filters the upper half of each is a copy, and not stored.
      const __m512i bytes =
          _mm512_max_epu8(ToBytes(Rounded(Value(first, 0)), Rounded(Value(first, V - 1)),
                                  Rounded(Value(second, 0)), Rounded(Value(second, V - 1))),
                          least);
      StoreBytes(__builtin_shufflevector(bytes, bytes, 0, 1, 2, 3), y, at);
      StoreBytes(__builtin_shufflevector(bytes, bytes, 4, 5, 6, 7), y, at + filters);
    } else {
      Store(first, y, at);
      Store(second, y, at + filters);
    }
  }

  inline __attribute__((always_inline)) void Store(const __m512i sums[V], void* y,
                                                   int64_t at) const {
    if constexpr (kBytes) {
      const __m512i first = Rounded(Value(sums, 0)), last = Rounded(Value(sums, V - 1));
      const __m512i bytes = _mm512_max_epu8(ToBytes(first, last, first, last), least);
      StoreBytes(__builtin_shufflevector(bytes, bytes, 0, 1, 2, 3), y, at);
    } else {
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v)
        _mm512_mask_storeu_ps(static_cast<float*>(y) + at + v * kInt8Filters,
                              static_cast<__mmask16>(mask >> (v * kInt8Filters)),
                              _mm512_maskz_max_ps(0xFFFF, Value(sums, v), floor));
    }
  }

 private:
  inline __attribute__((always_inline)) __m512 Value(const __m512i sums[V], int v) const {
    return _mm512_fmadd_ps(_mm512_maskz_cvtepi32_ps(0xFFFF, sums[v]), scale[v], offset[v]);
  }

  inline __attribute__((always_inline)) void StoreBytes(__m256i bytes, void* y, int64_t at) const {
    uint8_t* const to = static_cast<uint8_t*>(y) + at;
    if (V == 2 && whole) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bytes);
    } else {
      _mm256_mask_storeu_epi8(to, mask, bytes);
    }
  }

  __m512 scale[V], offset[V];
  __m512i least;
  __m512 floor;
  int64_t filters;
  bool whole;
  __mmask32 mask;
};

// What an image's outputs of some vectors of filters, from f on, are made of.
struct Task {
  const Int8Shape& s;
  const uint8_t* x;
  const int8_t* w;  // from f on
  const Int8Outputs& to;
  void* y;
  int64_t f;

  const uint8_t* window(int64_t oh, int64_t ow) const {
    return x + (oh * s.stride_h * s.in_w + ow * s.stride_w) * s.channels;
  }
};

// H x W outputs from (oh, ow) on.
template <int H, int W, int V, bool kBytes>
void Block(const Task& t, int64_t oh, int64_t ow) {
  const int64_t filters = t.s.filters;
  __m512i acc[H][W][V];
  Sums<H, W, V>(t.s, t.window(oh, ow), t.w, t.to.start + t.f, acc);
  const Outputs<V, kBytes> outputs(t.s, t.to, t.f);
#pragma GCC unroll 2
  for (int h = 0; h < H; ++h) {
    const int64_t first = ((oh + h) * t.s.out_w + ow) * filters + t.f;
#pragma GCC unroll 8
    for (int i = 0; i + 1 < W; i += 2)
      outputs.StoreTwo(acc[h][i], acc[h][i + 1], t.y, first + i * filters);
    if (W % 2 == 1) outputs.Store(acc[h][W - 1], t.y, first + (W - 1) * filters);
  }
}

// W outputs from (oh, ow) on that are each the largest of 2x2.
template <int W, int V, bool kBytes>
void PooledBlock(const Task& t, int64_t oh, int64_t ow) {
  const int64_t filters = t.s.filters;
  __m512i acc[2][2 * W][V], largest[W][V];
  Sums<2, 2 * W, V>(t.s, t.window(2 * oh, 2 * ow), t.w, t.to.start + t.f, acc);
#pragma GCC unroll 4
  for (int i = 0; i < W; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      const __m512i upper = _mm512_maskz_max_epi32(0xFFFF, acc[0][2 * i][v], acc[0][2 * i + 1][v]);
      const __m512i lower = _mm512_maskz_max_epi32(0xFFFF, acc[1][2 * i][v], acc[1][2 * i + 1][v]);
      largest[i][v] = _mm512_maskz_max_epi32(0xFFFF, upper, lower);
    }
  }
  const Outputs<V, kBytes> outputs(t.s, t.to, t.f);
  const int64_t first = (oh * (t.s.out_w / 2) + ow) * filters + t.f;
#pragma GCC unroll 2
  for (int i = 0; i + 1 < W; i += 2)
    outputs.StoreTwo(largest[i], largest[i + 1], t.y, first + i * filters);
  if (W % 2 == 1) outputs.Store(largest[W - 1], t.y, first + (W - 1) * filters);
}

using BlockFunction = void (*)(const Task&, int64_t, int64_t);

// A row of outputs in blocks of at most `most` columns, as even as can be: those of a small last
// one would leave the multipliers idle. blocks[n - 1] does n columns.
inline void Row(const Task& t, const BlockFunction* blocks, int64_t most, int64_t oh,
                int64_t columns) {
  const int64_t count = (columns + most - 1) / most;
  int64_t begin = 0;
  for (int64_t b = 1; b <= count; ++b) {
    const int64_t end = columns * b / count;
    blocks[end - begin - 1](t, oh, begin);
    begin = end;
  }
}

// An image's outputs of V vectors of filters, in some of Int8Rows. A block's sums leave registers
// for the factors.
template <int V, bool kPool, bool kBytes>
void Filters(const Task& t, Int8Range rows) {
  if constexpr (kPool) {
    static constexpr BlockFunction kBlocks[] = {
        PooledBlock<1, V, kBytes>, PooledBlock<2, V, kBytes>, PooledBlock<3, V, kBytes>};
    for (int64_t oh = rows.begin; oh < rows.end; ++oh) Row(t, kBlocks, 3, oh, t.s.out_w / 2);
  } else {
    static constexpr BlockFunction kTwoRows[] = {Block<2, 1, V, kBytes>, Block<2, 2, V, kBytes>,
                                                 Block<2, 3, V, kBytes>, Block<2, 4, V, kBytes>,
                                                 Block<2, 5, V, kBytes>, Block<2, 6, V, kBytes>};
    static constexpr BlockFunction kOneRow[] = {Block<1, 1, V, kBytes>, Block<1, 2, V, kBytes>,
                                                Block<1, 3, V, kBytes>, Block<1, 4, V, kBytes>,
                                                Block<1, 5, V, kBytes>, Block<1, 6, V, kBytes>,
                                                Block<1, 7, V, kBytes>, Block<1, 8, V, kBytes>};
    for (int64_t oh = 2 * rows.begin; oh < 2 * rows.end; oh += 2) {
      if (oh + 1 < t.s.out_h) {
        Row(t, kTwoRows, 6, oh, t.s.out_w);
      } else {
        Row(t, kOneRow, 8, oh, t.s.out_w);
      }
    }
  }
}

template <bool kPool, bool kBytes>
void Parts(const Int8Shape& s, Int8Range parts, const uint8_t* x, const int8_t* w,
           const Int8Outputs& to, void* y) {
  const int64_t outputs = (kPool ? (s.out_h / 2) * (s.out_w / 2) : s.out_h * s.out_w) * s.filters;
  const int64_t rows = Int8Rows(s), blocks = Int8Blocks(s);
  while (parts.begin < parts.end) {
    const int64_t n = parts.begin / rows / blocks, row = parts.begin % rows;
    const int64_t f = parts.begin / rows % blocks * kInt8BlockFilters;
    const Int8Range of{row,
                       rows - row < parts.end - parts.begin ? rows : row + parts.end - parts.begin};
    const Task t{s,
                 x + n * s.in_h * s.in_w * s.channels,
                 w + f * kInt8Taps,
                 to,
                 static_cast<char*>(y) + n * outputs * (kBytes ? 1 : int64_t{sizeof(float)}),
                 f};
    s.filters - f <= kInt8Filters ? Filters<1, kPool, kBytes>(t, of)
                                  : Filters<2, kPool, kBytes>(t, of);
    parts.begin += of.end - of.begin;
  }
}

void Convolution(const Int8Shape& s, Int8Range parts, const uint8_t* x, const int8_t* w,
                 const Int8Outputs& to, void* y) {
  if (s.pool) {
    s.bytes ? Parts<true, true>(s, parts, x, w, to, y) : Parts<true, false>(s, parts, x, w, to, y);
  } else {
    s.bytes ? Parts<false, true>(s, parts, x, w, to, y)
            : Parts<false, false>(s, parts, x, w, to, y);
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
