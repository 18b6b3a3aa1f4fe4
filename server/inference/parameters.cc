#include "server/inference/parameters.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace convd {
namespace {

constexpr size_t kMaxShown = 80;

}  // namespace

std::string Shown(absl::string_view text) {
  std::string shown = absl::StrCat("\"", absl::CEscape(text.substr(0, kMaxShown)), "\"");
  if (text.size() > kMaxShown) absl::StrAppend(&shown, "... (", text.size(), " bytes)");
  return shown;
}

absl::Status UnknownParameter(absl::string_view field, absl::string_view name,
                              absl::string_view known) {
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": got ", Shown(name), ", which this server doesn't know; want ",
                   known.empty() ? "none" : absl::StrCat("\"", known, "\" or none")));
}

}  // namespace convd
