#include "server/json_text.h"

#include "absl/strings/str_format.h"
#include "core/names/utf8.h"

namespace convd {

void AppendJsonString(std::string_view text, std::string& json) {
  json += '"';
  while (!text.empty()) {
    const size_t size = Utf8Sequence(text);
    const std::string_view sequence = text.substr(0, size == 0 ? 1 : size);
    const auto c = static_cast<unsigned char>(sequence[0]);
    text.remove_prefix(sequence.size());
    if (size == 0) {
      json += "\\ufffd";
    } else if (sequence == "\"" || sequence == "\\") {
      json += '\\';
      json += sequence;
    } else if (sequence == "\n") {
      json += "\\n";
    } else if (c < 0x20 || c == 0x7f) {
      absl::StrAppendFormat(&json, "\\u%04x", c);
    } else if (sequence.size() == 2 && c == 0xc2 &&
               static_cast<unsigned char>(sequence[1]) < 0xa0) {
      // C1 controls, which terminals obey as well.
      absl::StrAppendFormat(&json, "\\u%04x", static_cast<unsigned char>(sequence[1]));
    } else {
      json += sequence;
    }
  }
  json += '"';
}

}  // namespace convd
