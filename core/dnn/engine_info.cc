#include "core/dnn/engine_info.h"

#include <oneapi/dnnl/dnnl.hpp>

#include "absl/strings/str_cat.h"
#include "core/dnn/int8_kernels.h"
#include "core/dnn/kernels.h"

namespace convd {
namespace {

// oneDNN's sets nest: each holds the bits of the ones below it.
bool Has(dnnl::cpu_isa isa, dnnl::cpu_isa part) {
  return (static_cast<unsigned>(isa) & static_cast<unsigned>(part)) == static_cast<unsigned>(part);
}

}  // namespace

absl::Status CheckCpu() {
  __builtin_cpu_init();
  // All that the compiler may use in kernels_v3.cc; F16C, LZCNT and MOVBE, too.
  if (__builtin_cpu_supports("x86-64-v3")) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "this CPU lacks AVX2, FMA, BMI2 or another part of x86-64-v3, which convd needs (Intel "
      "Haswell, AMD Zen or later)");
}

absl::Status SetInstructionSet(std::string_view isa) {
  if (isa.empty()) return absl::OkStatus();
  dnnl::cpu_isa wanted;
  if (isa == "avx2") {
    wanted = dnnl::cpu_isa::avx2;
  } else if (isa == "avx512") {
    if (!__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl") ||
        !__builtin_cpu_supports("avx512dq")) {
      return absl::FailedPreconditionError(
          "isa: got \"avx512\"; this CPU has no AVX-512 (BW, DQ, VL); use avx2");
    }
    wanted = dnnl::cpu_isa::avx512_core;
  } else {
    return absl::InvalidArgumentError(absl::StrCat(
        "isa: got \"", absl::string_view(isa.data(), isa.size()), "\"; want avx2 or avx512"));
  }
  if (dnnl::set_max_cpu_isa(wanted) != dnnl::status::success) {
    return absl::FailedPreconditionError("isa: it can only be set before the engine is first used");
  }
  return absl::OkStatus();
}

std::string InstructionSet() {
  const dnnl::cpu_isa isa = dnnl::get_effective_cpu_isa();
  if (Has(isa, dnnl::cpu_isa::avx512_core_amx)) return "avx512_amx";
  if (Has(isa, dnnl::cpu_isa::avx512_core_bf16)) return "avx512_bf16";
  if (Has(isa, dnnl::cpu_isa::avx512_core_vnni)) return "avx512_vnni";
  if (Has(isa, dnnl::cpu_isa::avx512_core)) return "avx512";
  return "avx2";
}

std::string OneDnnVersion() {
  const dnnl_version_t* v = dnnl_version();
  return absl::StrCat(v->major, ".", v->minor, ".", v->patch);
}

const Kernels& ActiveKernels() {
  static const Kernels& kernels =
      Has(dnnl::get_effective_cpu_isa(), dnnl::cpu_isa::avx512_core) ? kKernelsV4 : kKernelsV3;
  return kernels;
}

const Int8Kernels* ActiveInt8Kernels() {
  static const bool has = Has(dnnl::get_effective_cpu_isa(), dnnl::cpu_isa::avx512_core_vnni);
  return has ? &kKernelsVnni : nullptr;
}

const Bf16Kernels* ActiveBf16Kernels() {
  static const bool has = Has(dnnl::get_effective_cpu_isa(), dnnl::cpu_isa::avx512_core_bf16);
  return has ? &kKernelsBf16 : nullptr;
}

}  // namespace convd
