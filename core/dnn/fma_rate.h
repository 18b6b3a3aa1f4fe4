#ifndef CONVD_CORE_DNN_FMA_RATE_H_
#define CONVD_CORE_DNN_FMA_RATE_H_

#include <cstdint>
#include <string_view>

// The peak of f32 that shares are given of. Runs only what the CPU has: functions are compiled for
// their own width, the rest of the file for the baseline. Any thread may call.

namespace convd {

enum class VectorWidth { kAvx2, kAvx512 };

// Whether this CPU (and its operating system) has the width.
bool HasVectorWidth(VectorWidth width);

// "avx2", "avx512": as convd::InstructionSet() begins.
std::string_view VectorWidthName(VectorWidth width);

// The wider of the two that a plan for `instruction_set` (convd::InstructionSet()) uses.
VectorWidth WidthOf(std::string_view instruction_set);

// Fused multiply-adds of f32 on registers alone, on the calling thread, for about half a
// millisecond: long enough to time, and short enough between two cuts. Returns how many FLOP they
// were. The shortest of many runs shows the core's peak. REQUIRES: HasVectorWidth(width).
int64_t RunFma(VectorWidth width);

// FLOP per second that `threads` threads reach together with fused multiply-adds of f32 on
// registers alone: what no kernel can exceed. Starts those threads. The best of a few runs of about
// `seconds` in all. REQUIRES: HasVectorWidth(width), threads >= 1.
double MeasureFmaRate(VectorWidth width, int threads, double seconds = 0.6);

}  // namespace convd

#endif  // CONVD_CORE_DNN_FMA_RATE_H_
