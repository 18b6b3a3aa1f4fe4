#include "core/data/numbers.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"

namespace convd {
namespace {

// IEEE 754's binary16, each of which a double holds exactly.
double Half(uint64_t bits) {
  const int exponent = static_cast<int>(bits >> 10 & 0x1F);
  const int fraction = static_cast<int>(bits & 0x3FF);
  double value;
  if (exponent == 31) {
    value = fraction == 0 ? std::numeric_limits<double>::infinity() : std::nan("");
  } else {
    // Numbers of the smallest exponent have no leading one.
    value = std::ldexp(exponent == 0 ? fraction : 1024 + fraction, std::max(exponent, 1) - 25);
  }
  return bits >> 15 & 1 ? -value : value;
}

}  // namespace

std::string NumberType::Text() const {
  const char* const word = kind == 'b'   ? "bool"
                           : kind == 'i' ? "int"
                           : kind == 'u' ? "uint"
                           : kind == 'f' ? "float"
                                         : "complex";
  return kind == 'b' ? word : absl::StrCat(word, 8 * bytes);
}

bool IsReadNumber(const NumberType& type) {
  const int n = type.bytes;
  if (type.kind == 'b') return n == 1;
  if (type.kind == 'f') return n == 2 || n == 4 || n == 8;
  return (type.kind == 'i' || type.kind == 'u') && (n == 1 || n == 2 || n == 4 || n == 8);
}

double NumberAt(const NumberType& type, const char* at) {
  const int n = type.bytes;
  uint64_t bits = 0;
  for (int b = 0; b < n; ++b) {
    bits = bits << 8 | static_cast<unsigned char>(at[type.big_endian ? b : n - 1 - b]);
  }
  switch (type.kind) {
    case 'b':
      return bits != 0 ? 1 : 0;
    case 'f':
      if (n == 8) return std::bit_cast<double>(bits);
      if (n == 4) return std::bit_cast<float>(static_cast<uint32_t>(bits));
      return Half(bits);
    case 'i': {
      const int shift = 64 - 8 * n;
      return static_cast<double>(static_cast<int64_t>(bits << shift) >> shift);
    }
    default:
      return static_cast<double>(bits);
  }
}

std::string NumberText(double value) {
  // Up to there doubles hold all integers.
  constexpr double kWhole = 9007199254740992;
  if (std::abs(value) <= kWhole && value == std::floor(value)) {
    return absl::StrCat(static_cast<int64_t>(value));
  }
  return absl::StrCat(value);
}

}  // namespace convd
