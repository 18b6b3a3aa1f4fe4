// Compiled with -march=x86-64-v4; only called where the CPU has it.
#include <immintrin.h>

#include "core/dnn/kernels.h"

// Of two vectors' lanes, one of each in turn: from the lower half of both, from the upper.
#define CONVD_INTERLEAVE_LOWER 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define CONVD_INTERLEAVE_UPPER 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31

namespace convd {
namespace x86_64_v4 {
namespace {

constexpr int kLanesPerVector = 16;

// Products of the even lanes of 32 bits. With a mask of all lanes, since gcc 12 warns of something
// uninitialized in the intrinsic without one.
using Integers = __m512i;
inline Integers MultiplyEven(Integers a, Integers b) { return _mm512_maskz_mul_epu32(0xFF, a, b); }

// A byte a lane, of lanes from 0 to 255.
using Lanes = int32_t __attribute__((vector_size(64)));
inline Lanes LoadBytes(const uint8_t* p) {
  return (Lanes)_mm512_maskz_cvtepu8_epi32(0xFFFF,
                                           _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline void StoreBytes(uint8_t* p, Lanes lanes) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm512_maskz_cvtepi32_epi8(0xFFFF, (Integers)lanes));
}

#include "core/dnn/kernels_body.inc"

// Accumulators of the convolutions' inner loops: as many as leave registers for the factors.
constexpr int kProductRegisters = 24, kProductVectors = 4, kWeightsRegisters = 16;
constexpr int kNarrowRegisters = 16, kNarrowGradientVectors = 2;

inline Vector MultiplyAdd(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
// From memory: adding a scalar to a vector of zeros would take the port of the multiplications.
inline Vector Broadcast(const float* p) { return _mm512_set1_ps(*p); }
// a > b ? a : b, so b of equal ones and where either isn't a number.
// With a mask, as above.
inline Vector Larger(Vector a, Vector b) { return _mm512_maskz_max_ps(0xFFFF, a, b); }
inline Vector Positive(Vector v) { return Larger(v, Vector{}); }

#include "core/dnn/narrow_convolution_body.inc"
#include "core/dnn/winograd_body.inc"

}  // namespace
}  // namespace x86_64_v4

const Kernels kKernelsV4 = {
    .name = "x86-64-v4",
    .max_pool_forward = x86_64_v4::MaxPoolForward,
    .max_pool_backward = x86_64_v4::MaxPoolBackward,
    .wide_max_pool_forward = x86_64_v4::WideMaxPoolForward,
    .wide_max_pool_backward = x86_64_v4::WideMaxPoolBackward,
    .average_pool_forward = x86_64_v4::AveragePoolForward,
    .average_pool_backward = x86_64_v4::AveragePoolBackward,
    .dense_forward = x86_64_v4::DenseForward,
    .dense_backward_data = x86_64_v4::DenseBackwardData,
    .dense_backward_weights = x86_64_v4::DenseBackwardWeights,
    .sum_rows = x86_64_v4::SumRows,
    .relu_mask = x86_64_v4::ReluMask,
    .add = x86_64_v4::Add,
    .scale_uint8 = x86_64_v4::ScaleUint8,
    .dropout_forward = x86_64_v4::DropoutForward,
    .dropout_backward = x86_64_v4::DropoutBackward,
    .adam = x86_64_v4::Adam,
    .sgd = x86_64_v4::Sgd,
    .winograd_weights = x86_64_v4::WinogradWeights,
    .winograd_forward = x86_64_v4::WinogradForward,
    .winograd_backward = x86_64_v4::WinogradBackward,
    .narrow_forward = x86_64_v4::NarrowForward,
    .narrow_backward = x86_64_v4::NarrowBackward,
};

}  // namespace convd
