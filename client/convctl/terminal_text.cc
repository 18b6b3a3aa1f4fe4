#include "client/convctl/terminal_text.h"

#include <cstdint>

#include "absl/strings/str_format.h"

namespace convd {
namespace {

struct CodePoint {
  uint32_t value = 0;
  size_t bytes = 0;  // 0: no UTF-8
};

// The code point that `text` begins with. Overlong forms, surrogates and values beyond U+10FFFF
// are no UTF-8 (RFC 3629). REQUIRES: !text.empty().
CodePoint FirstCodePoint(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return {};
  uint32_t value = lead & (0xff >> (bytes + 1));
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    value = value << 6 | (byte(i) & 0x3f);
  }
  const uint32_t least = bytes == 4 ? 0x10000 : bytes == 3 ? 0x800 : 0x80;
  if (value < least || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) return {};
  return {value, bytes};
}

bool IsControl(uint32_t c) {
  // C0, DEL and C1; line and paragraph separators; the marks that turn the direction of writing.
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 ||
         (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

int Columns(uint32_t c) {
  // The blocks that matter for labels, after Unicode's EastAsianWidth and general categories Mn and
  // Cf.
  if ((c >= 0x300 && c <= 0x36f) || (c >= 0x200b && c <= 0x200f) || (c >= 0xfe00 && c <= 0xfe0f)) {
    return 0;
  }
  if ((c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf && c != 0x303f) ||
      (c >= 0xac00 && c <= 0xd7a3) || (c >= 0xf900 && c <= 0xfaff) ||
      (c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) ||
      (c >= 0xffe0 && c <= 0xffe6) || (c >= 0x1f300 && c <= 0x1f64f) ||
      (c >= 0x1f900 && c <= 0x1f9ff) || (c >= 0x20000 && c <= 0x3fffd)) {
    return 2;
  }
  return 1;
}

}  // namespace

std::string Printable(std::string_view text, bool keep_lines) {
  std::string printable;
  printable.reserve(text.size());
  while (!text.empty()) {
    const CodePoint c = FirstCodePoint(text);
    const size_t bytes = c.bytes == 0 ? 1 : c.bytes;
    if (c.bytes != 0 && (!IsControl(c.value) || (keep_lines && c.value == '\n'))) {
      printable.append(text.substr(0, bytes));
    } else {
      for (const char b : text.substr(0, bytes)) {
        printable += absl::StrFormat("\\x%02x", static_cast<uint8_t>(b));
      }
    }
    text.remove_prefix(bytes);
  }
  return printable;
}

size_t DisplayWidth(std::string_view text) {
  size_t width = 0;
  while (!text.empty()) {
    const CodePoint c = FirstCodePoint(text);
    width += c.bytes == 0 ? 1 : Columns(c.value);
    text.remove_prefix(c.bytes == 0 ? 1 : c.bytes);
  }
  return width;
}

std::string_view CutToWidth(std::string_view text, size_t width) {
  size_t taken = 0;
  size_t used = 0;
  while (taken < text.size()) {
    const CodePoint c = FirstCodePoint(text.substr(taken));
    used += c.bytes == 0 ? 1 : Columns(c.value);
    if (used > width) break;
    taken += c.bytes == 0 ? 1 : c.bytes;
  }
  return text.substr(0, taken);
}

}  // namespace convd
