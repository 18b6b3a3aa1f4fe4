#include "core/dnn/precision.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/dnn/engine_info.h"
#include "core/dnn/int8_kernels.h"
#include "core/dnn/kernels.h"

namespace convd {

std::string_view PrecisionName(v1::Precision precision) {
  switch (precision) {
    case v1::PRECISION_F32:
      return "f32";
    case v1::PRECISION_BF16:
      return "bf16";
    case v1::PRECISION_INT8:
      return "int8";
    default:
      return "";
  }
}

absl::Status CheckPrecision(std::string_view field, v1::Precision precision) {
  const absl::string_view name(field.data(), field.size());
  const std::string isa = InstructionSet();
  switch (precision) {
    case v1::PRECISION_F32:
      return absl::OkStatus();
    case v1::PRECISION_BF16:
      if (ActiveBf16Kernels() != nullptr) return absl::OkStatus();
      return absl::FailedPreconditionError(
          absl::StrCat(name, ": got bf16, which needs AVX512-BF16; this server computes with ", isa,
                       "; want f32"));
    case v1::PRECISION_INT8:
      if (ActiveInt8Kernels() != nullptr) return absl::OkStatus();
      return absl::FailedPreconditionError(
          absl::StrCat(name, ": got int8, which needs AVX512-VNNI; this server computes with ", isa,
                       "; want f32"));
    default:
      return absl::InvalidArgumentError(absl::StrCat(name, ": got ", static_cast<int>(precision),
                                                     "; want PRECISION_F32, _BF16 or _INT8"));
  }
}

}  // namespace convd
