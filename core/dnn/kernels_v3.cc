// Compiled with -march=x86-64-v3; only called where the CPU has it.
#include <immintrin.h>

#include "core/dnn/kernels.h"

// Of two vectors' lanes, one of each in turn: from the lower half of both, from the upper.
#define CONVD_INTERLEAVE_LOWER 0, 8, 1, 9, 2, 10, 3, 11
#define CONVD_INTERLEAVE_UPPER 4, 12, 5, 13, 6, 14, 7, 15

namespace convd {
namespace x86_64_v3 {
namespace {

constexpr int kLanesPerVector = 8;
#include "core/dnn/vectors.inc"

// Products of the even lanes of 32 bits.
using Integers = __m256i;
inline Integers MultiplyEven(Integers a, Integers b) { return _mm256_mul_epu32(a, b); }

// A byte a lane, of lanes from 0 to 255.
using Lanes = int32_t __attribute__((vector_size(32)));
inline Lanes LoadBytes(const uint8_t* p) {
  return (Lanes)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
inline void StoreBytes(uint8_t* p, Lanes lanes) {
  const Integers all = (Integers)lanes;
  const __m128i words =
      _mm_packus_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
}

inline Lanes LoadBytes(const uint8_t* p, AllLanes) { return LoadBytes(p); }
inline void StoreBytes(uint8_t* p, Lanes lanes, AllLanes) { StoreBytes(p, lanes); }

// The first lanes of a vector, none to all of them. What isn't among them is zero when it is
// loaded, and neither read nor written.
struct LaneMask {
  Integers lanes;
  int count;
};
inline LaneMask FirstLanes(int count) {
  const Integers numbers = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return {_mm256_cmpgt_epi32(_mm256_set1_epi32(count), numbers),
          Smaller(Larger(count, 0), kLanesPerVector)};
}
inline Vector Load(const float* p, const LaneMask& mask) {
  return _mm256_maskload_ps(p, mask.lanes);
}
inline void Store(float* p, Vector v, const LaneMask& mask) {
  _mm256_maskstore_ps(p, mask.lanes, v);
}
inline Lanes LoadBytes(const uint8_t* p, const LaneMask& mask) {
  uint8_t bytes[kLanesPerVector] = {};
  __builtin_memcpy(bytes, p, mask.count);
  return LoadBytes(bytes);
}
inline void StoreBytes(uint8_t* p, Lanes lanes, const LaneMask& mask) {
  uint8_t bytes[kLanesPerVector];
  StoreBytes(bytes, lanes);
  __builtin_memcpy(p, bytes, mask.count);
}

// Accumulators of the convolutions' inner loops: as many as leave registers for the factors.
constexpr int kProductRegisters = 12, kProductVectors = 2, kWeightsRegisters = 8;
constexpr int kNarrowRegisters = 8, kNarrowGradientRegisters = 12, kNarrowGradientVectors = 1;

inline Vector FusedMultiplyAdd(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
// From memory: adding a scalar to a vector of zeros would take the port of the multiplications.
inline Vector Broadcast(const float* p) { return _mm256_set1_ps(*p); }
// a > b ? a : b, so b of equal ones and where either isn't a number.
inline Vector Larger(Vector a, Vector b) { return _mm256_max_ps(a, b); }
inline Vector Positive(Vector v) { return Larger(v, Vector{}); }

#include "core/dnn/dense_body.inc"
#include "core/dnn/kernels_body.inc"
#include "core/dnn/narrow_convolution_body.inc"
#include "core/dnn/pooling_body.inc"
#include "core/dnn/winograd_body.inc"

}  // namespace
}  // namespace x86_64_v3

const Kernels kKernelsV3 = {
    .name = "x86-64-v3",
    .max_pool_forward = x86_64_v3::MaxPoolForward,
    .max_pool_backward = x86_64_v3::MaxPoolBackward,
    .wide_max_pool_forward = x86_64_v3::WideMaxPoolForward,
    .wide_max_pool_backward = x86_64_v3::WideMaxPoolBackward,
    .average_pool_forward = x86_64_v3::AveragePoolForward,
    .average_pool_backward = x86_64_v3::AveragePoolBackward,
    .dense_forward = x86_64_v3::DenseForward,
    .dense_backward_data = x86_64_v3::DenseBackwardData,
    .dense_backward_weights = x86_64_v3::DenseBackwardWeights,
    .sum_rows = x86_64_v3::SumRows,
    .relu_mask = x86_64_v3::ReluMask,
    .add = x86_64_v3::Add,
    .scale_uint8 = x86_64_v3::ScaleUint8,
    .dropout_forward = x86_64_v3::DropoutForward,
    .dropout_backward = x86_64_v3::DropoutBackward,
    .adam = x86_64_v3::Adam,
    .sgd = x86_64_v3::Sgd,
    .winograd =
        {
            .weights = x86_64_v3::WinogradWeights<x86_64_v3::FloatProducts>,
            .forward = x86_64_v3::WinogradForward<x86_64_v3::FloatProducts>,
            .backward = x86_64_v3::WinogradBackward<x86_64_v3::FloatProducts>,
        },
    .narrow_forward = x86_64_v3::NarrowForward,
    .narrow_backward = x86_64_v3::NarrowBackward,
};

}  // namespace convd
