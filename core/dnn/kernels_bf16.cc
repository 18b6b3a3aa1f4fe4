// Compiled with -march=x86-64-v4 -mavx512bf16; only called where the CPU has it.
#include <immintrin.h>

#include "core/dnn/kernels.h"

namespace convd {
namespace x86_64_v4_bf16 {
namespace {

// In this order.
// clang-format off
#include "core/dnn/vectors_v4.inc"
#include "core/dnn/winograd_body.inc"
// clang-format on

inline __m256i Rounded(Vector v) { return (__m256i)_mm512_cvtneps_pbh((__m512)v); }
inline Integers Widened(__m256i halves) { return _mm512_maskz_cvtepu16_epi32(0xFFFF, halves); }

// Two to a lane, the first in its lower half. What FloatProducts says in winograd_body.inc.
struct Bf16Products {
  static constexpr int kNumbers = 2;
  static Vector MultiplyAdd(Vector a, Vector b, Vector c) {
    return (Vector)_mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)b);
  }
  static void StoreInRow(float* to, Vector v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i_u*>(to), Rounded(v));
  }
  static void StoreInLanes(float* to, int64_t number, Vector v) {
    Integers lanes = Widened(Rounded(v));
    if (number == 1) {
      lanes = _mm512_maskz_slli_epi32(0xFFFF, lanes, 16) | (Integers)Load(to);
    }
    Store(to, (Vector)lanes);
  }
};

void FromFloat(int64_t n, const float* x, uint16_t* y) {
  int64_t i = 0;
  for (; i + kLanesPerVector <= n; i += kLanesPerVector)
    _mm256_storeu_si256(reinterpret_cast<__m256i_u*>(y + i), Rounded(Load(x + i)));
  if (i == n) return;
  const __mmask16 rest = static_cast<__mmask16>((1u << (n - i)) - 1);
  const __m512 last = _mm512_maskz_loadu_ps(rest, x + i);
  _mm256_mask_storeu_epi16(y + i, rest, Rounded((Vector)last));
}

}  // namespace
}  // namespace x86_64_v4_bf16

const Bf16Kernels kKernelsBf16 = {
    .name = "x86-64-v4-bf16",
    .winograd =
        {
            .weights = x86_64_v4_bf16::WinogradWeights<x86_64_v4_bf16::Bf16Products>,
            .forward = x86_64_v4_bf16::WinogradForward<x86_64_v4_bf16::Bf16Products>,
            .backward = x86_64_v4_bf16::WinogradBackward<x86_64_v4_bf16::Bf16Products>,
        },
    .from_float = x86_64_v4_bf16::FromFloat,
};

}  // namespace convd
