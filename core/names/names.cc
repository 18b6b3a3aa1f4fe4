#include "core/names/names.h"

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace convd {
namespace {

constexpr size_t kMaxLength = 64;
constexpr size_t kMaxShown = 80;

bool Valid(std::string_view name) {
  if (name.empty() || name.size() > kMaxLength || !absl::ascii_isalnum(name[0])) return false;
  for (unsigned char c : name)
    if (!absl::ascii_isalnum(c) && c != '.' && c != '_' && c != '-') return false;
  return true;
}

}  // namespace

absl::Status CheckName(std::string_view field, std::string_view name) {
  if (Valid(name)) return absl::OkStatus();
  std::string shown =
      absl::CEscape(absl::string_view(name.data(), std::min(name.size(), kMaxShown)));
  if (name.size() > kMaxShown) absl::StrAppend(&shown, "... (", name.size(), " bytes)");
  return absl::InvalidArgumentError(absl::StrCat(
      absl::string_view(field.data(), field.size()), ": got \"", shown,
      "\"; want 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit"));
}

}  // namespace convd
