#include "client/convctl/precision_text.h"

#include "absl/strings/str_cat.h"

namespace convd {

std::string PrecisionText(v1::Precision precision) {
  switch (precision) {
    case v1::PRECISION_UNSPECIFIED:
    case v1::PRECISION_F32:
      return "f32";
    case v1::PRECISION_BF16:
      return "bf16";
    case v1::PRECISION_INT8:
      return "int8";
    default:
      return absl::StrCat("precision ", static_cast<int>(precision));  // of a newer server
  }
}

}  // namespace convd
