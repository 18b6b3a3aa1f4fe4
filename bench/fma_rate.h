#ifndef CONVD_BENCH_FMA_RATE_H_
#define CONVD_BENCH_FMA_RATE_H_

#include <string_view>

namespace convd {

enum class VectorWidth { kAvx2, kAvx512 };

// Whether this CPU (and its operating system) has the width.
bool HasVectorWidth(VectorWidth width);

// "avx2", "avx512": as convd::InstructionSet() begins.
std::string_view VectorWidthName(VectorWidth width);

// The wider of the two that a plan for `instruction_set` (convd::InstructionSet()) uses.
VectorWidth WidthOf(std::string_view instruction_set);

// FLOP per second that `threads` threads reach together with fused multiply-adds of f32 on
// registers alone: what no kernel can exceed. The best of a few runs of about `seconds` in all.
// REQUIRES: HasVectorWidth(width), threads >= 1.
double MeasureFmaRate(VectorWidth width, int threads, double seconds = 0.6);

}  // namespace convd

#endif  // CONVD_BENCH_FMA_RATE_H_
