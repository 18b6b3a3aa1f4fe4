#ifndef CONVD_CORE_DNN_ENGINE_INFO_H_
#define CONVD_CORE_DNN_ENGINE_INFO_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace convd {

// OK where the CPU has x86-64-v3 (AVX2, FMA, BMI2...), else FAILED_PRECONDITION with a sentence for
// the user. Safe on any x86-64 CPU. Call it first of all.
absl::Status CheckCpu();

// Caps oneDNN and the own kernels: "avx2" or "avx512" ("" leaves the choice to the CPU). Call
// before any plan is compiled; INVALID_ARGUMENT for another name, FAILED_PRECONDITION where the CPU
// lacks it or it is too late.
absl::Status SetInstructionSet(std::string_view isa);

// oneDNN's effective instruction set as cards show it: "avx2", "avx512", "avx512_bf16", ... Any
// thread may call.
std::string InstructionSet();

// "2.6.3"
std::string OneDnnVersion();

}  // namespace convd

#endif  // CONVD_CORE_DNN_ENGINE_INFO_H_
