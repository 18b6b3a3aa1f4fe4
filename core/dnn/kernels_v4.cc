// Compiled with -march=x86-64-v4; only called where the CPU has it.
#include "core/dnn/kernels.h"

namespace convd {
namespace x86_64_v4 {
namespace {

constexpr int kLanesPerVector = 16;
#include "core/dnn/kernels_body.inc"

}  // namespace
}  // namespace x86_64_v4

const Kernels kKernelsV4 = {
    .name = "x86-64-v4",
    .max_pool_forward = x86_64_v4::MaxPoolForward,
    .max_pool_backward = x86_64_v4::MaxPoolBackward,
    .average_pool_forward = x86_64_v4::AveragePoolForward,
    .average_pool_backward = x86_64_v4::AveragePoolBackward,
    .dense_forward = x86_64_v4::DenseForward,
    .dense_backward_data = x86_64_v4::DenseBackwardData,
    .dense_backward_weights = x86_64_v4::DenseBackwardWeights,
    .relu_mask = x86_64_v4::ReluMask,
    .add = x86_64_v4::Add,
    .scale_uint8 = x86_64_v4::ScaleUint8,
    .dropout_forward = x86_64_v4::DropoutForward,
    .dropout_backward = x86_64_v4::DropoutBackward,
    .adam = x86_64_v4::Adam,
    .sgd = x86_64_v4::Sgd,
};

}  // namespace convd
