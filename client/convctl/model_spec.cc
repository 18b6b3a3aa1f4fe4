#include "client/convctl/model_spec.h"

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/convctl/exit_code.h"
#include "client/convctl/terminal_text.h"

namespace convd {

absl::StatusOr<v1::ModelVersion> ParseModelSpec(std::string_view spec) {
  const auto wrong = [&](const char* why) {
    return UsageError(absl::StrCat("model \"", Printable(spec.substr(0, 100)), "\" ", why,
                                   "; write NAME, NAME@VERSION or NAME@LABEL"));
  };
  v1::ModelVersion model;
  const size_t mark = spec.find_first_of(":@");
  const std::string_view name = spec.substr(0, mark);
  if (name.empty()) return wrong("has no name");
  model.set_name(std::string(name));
  if (mark == std::string_view::npos) return model;
  const std::string_view text = spec.substr(mark + 1);
  if (text.empty()) return wrong("has nothing behind its mark");
  if (text.find_first_not_of("0123456789") != std::string_view::npos) {
    // Of a word the server says whether it may be a label; but what looks like a number is none.
    if (!absl::ascii_isalnum(static_cast<unsigned char>(text[0])) ||
        text.find_first_of(":@ ") != std::string_view::npos ||
        text.find_first_not_of("0123456789.") == std::string_view::npos) {
      return wrong("has neither a version from 1 on nor a label");
    }
    model.set_label(std::string(text));
    return model;
  }
  int64_t version = 0;
  if (!absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &version) || version < 1) {
    return wrong("has a version that is no number from 1 on");
  }
  model.set_version(version);
  return model;
}

std::string ModelSpec(const v1::ModelVersion& model) {
  return absl::StrCat(model.name(), "@", model.version());
}

}  // namespace convd
