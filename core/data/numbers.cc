#include "core/data/numbers.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace convd {
namespace {

// IEEE 754's binary16, each of which a double holds exactly.
double Half(uint64_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits >> 15) << 31;
  const uint32_t exponent = static_cast<uint32_t>(bits >> 10 & 0x1F);
  const uint32_t fraction = static_cast<uint32_t>(bits & 0x3FF);
  if (exponent == 0) {
    // These have no leading one.
    const double value = fraction * 0x1p-24;
    return sign != 0 ? -value : value;
  }
  // A float has the same fields, wider; its exponents are 112 larger, and all ones stay so.
  const uint32_t wide = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

// Datasets have tens of millions of numbers, so not byte by byte.
uint64_t BitsAt(const NumberType& type, const char* at) {
  static_assert(std::endian::native == std::endian::little);
  uint16_t two;
  uint32_t four;
  uint64_t eight;
  switch (type.bytes) {
    case 1:
      return static_cast<unsigned char>(*at);
    case 2:
      std::memcpy(&two, at, sizeof two);
      return type.big_endian ? __builtin_bswap16(two) : two;
    case 4:
      std::memcpy(&four, at, sizeof four);
      return type.big_endian ? __builtin_bswap32(four) : four;
    default:
      std::memcpy(&eight, at, sizeof eight);
      return type.big_endian ? __builtin_bswap64(eight) : eight;
  }
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
  const uint64_t bits = BitsAt(type, at);
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
