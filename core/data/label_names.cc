#include "core/data/label_names.h"

#include <map>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace convd {
namespace {

// Well-formed UTF-8 (Unicode 15, table 3-7) without C0 and C1 control characters and DEL.
bool IsPrintableUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto byte = [&](size_t at) -> unsigned {
      return at < text.size() ? static_cast<unsigned char>(text[at]) : 0;
    };
    const unsigned first = byte(i);
    if (first < 0x80) {
      if (first < 0x20 || first == 0x7F) return false;
      ++i;
      continue;
    }
    const int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
    if (first < 0xC2 || first > 0xF4) return false;
    for (int k = 1; k <= more; ++k) {
      if ((byte(i + k) & 0xC0) != 0x80) return false;
    }
    const unsigned second = byte(i + 1);
    // Overlong forms, surrogates, beyond U+10FFFF, C1.
    if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ||
        (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F) ||
        (first == 0xC2 && second < 0xA0)) {
      return false;
    }
    i += 1 + more;
  }
  return true;
}

}  // namespace

absl::Status CheckLabelNames(const std::string& field, const std::vector<std::string>& names,
                             const DataLimits& limits) {
  if (names.empty()) return absl::InvalidArgumentError(absl::StrCat(field, ": has no names"));
  if (static_cast<int64_t>(names.size()) > limits.classes) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ": has more names than the limit of ", limits.classes));
  }
  std::map<std::string_view, size_t> first;
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string& name = names[i];
    if (name.empty() || static_cast<int64_t>(name.size()) > limits.label_bytes ||
        !IsPrintableUtf8(name)) {
      return absl::InvalidArgumentError(absl::StrCat(
          field, ": name ", i, " is \"", absl::CEscape(name.substr(0, 80)), "\" (", name.size(),
          " bytes); want 1 to ", limits.label_bytes, " bytes of UTF-8 without control characters"));
    }
    const auto [other, is_new] = first.emplace(name, i);
    if (!is_new) {
      return absl::InvalidArgumentError(absl::StrCat(field, ": names ", other->second, " and ", i,
                                                     " are both \"", absl::Utf8SafeCEscape(name),
                                                     "\"; want each class to have its own"));
    }
  }
  return absl::OkStatus();
}

}  // namespace convd
