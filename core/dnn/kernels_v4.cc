// Compiled with -march=x86-64-v4; only called where the CPU has it.
#include <immintrin.h>

#include "core/dnn/kernels.h"

// Of two vectors' lanes, one of each in turn: from the lower half of both, from the upper.
#define CONVD_INTERLEAVE_LOWER 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define CONVD_INTERLEAVE_UPPER 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31

namespace convd {
namespace x86_64_v4 {
namespace {

// In this order.
// clang-format off
#include "core/dnn/vectors_v4.inc"
#include "core/dnn/dense_body.inc"
#include "core/dnn/kernels_body.inc"
#include "core/dnn/narrow_convolution_body.inc"
#include "core/dnn/narrow_pairs_body.inc"
#include "core/dnn/pooling_body.inc"
#include "core/dnn/winograd_body.inc"
// clang-format on

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
    .winograd =
        {
            .weights = x86_64_v4::WinogradWeights<x86_64_v4::FloatProducts>,
            .forward = x86_64_v4::WinogradForward<x86_64_v4::FloatProducts>,
            .backward = x86_64_v4::WinogradBackward<x86_64_v4::FloatProducts>,
        },
    .narrow_forward = x86_64_v4::NarrowPairsForward,
    .narrow_backward = x86_64_v4::NarrowPairsBackward,
};

}  // namespace convd
