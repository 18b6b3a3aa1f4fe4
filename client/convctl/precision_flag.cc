#include "client/convctl/precision_flag.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/convctl/precision_text.h"

namespace convd {

CLI::Option* AddPrecisionFlag(CLI::App& app, const std::string& name,
                              std::vector<v1::Precision> choices, const std::string& description,
                              v1::Precision& precision) {
  const std::string words =
      absl::StrJoin(choices, ", ", [](std::string* out, const v1::Precision choice) {
        absl::StrAppend(out, PrecisionText(choice));
      });
  const auto is_choice = [choices, words](std::string& text) -> std::string {
    for (const v1::Precision choice : choices) {
      if (text == PrecisionText(choice)) return "";
    }
    return absl::StrCat("got \"", absl::Utf8SafeCEscape(text.substr(0, 80)), "\"; want one of ",
                        words);
  };
  const auto set = [choices = std::move(choices), &precision](const std::string& text) {
    for (const v1::Precision choice : choices) {
      if (text == PrecisionText(choice)) precision = choice;
    }
  };
  return app.add_option_function<std::string>(name, set, description + ": " + words)
      ->check(CLI::Validator(is_choice, ""))
      ->type_name("P");
}

CLI::Option* AddPrecisionFlag(CLI::App& app, v1::Precision& precision) {
  return AddPrecisionFlag(app, "--precision",
                          {v1::PRECISION_F32, v1::PRECISION_BF16, v1::PRECISION_INT8},
                          "Instead of what it is served at", precision);
}

}  // namespace convd
