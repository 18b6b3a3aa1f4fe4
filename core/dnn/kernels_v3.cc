// Compiled with -march=x86-64-v3; only called where the CPU has it.
#include "core/dnn/kernels.h"

namespace convd {
namespace x86_64_v3 {
namespace {

constexpr int kLanesPerVector = 8;
#include "core/dnn/kernels_body.inc"

}  // namespace
}  // namespace x86_64_v3

const Kernels kKernelsV3 = {
    .name = "x86-64-v3",
    .max_pool_forward = x86_64_v3::MaxPoolForward,
    .max_pool_backward = x86_64_v3::MaxPoolBackward,
    .average_pool_forward = x86_64_v3::AveragePoolForward,
    .average_pool_backward = x86_64_v3::AveragePoolBackward,
    .dense_forward = x86_64_v3::DenseForward,
    .dense_backward_data = x86_64_v3::DenseBackwardData,
    .dense_backward_weights = x86_64_v3::DenseBackwardWeights,
    .relu_mask = x86_64_v3::ReluMask,
    .add = x86_64_v3::Add,
    .scale_uint8 = x86_64_v3::ScaleUint8,
    .dropout_forward = x86_64_v3::DropoutForward,
    .dropout_backward = x86_64_v3::DropoutBackward,
    .adam = x86_64_v3::Adam,
    .sgd = x86_64_v3::Sgd,
};

}  // namespace convd
