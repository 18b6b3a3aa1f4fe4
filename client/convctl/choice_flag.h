#ifndef CONVD_CLIENT_CONVCTL_CHOICE_FLAG_H_
#define CONVD_CLIENT_CONVCTL_CHOICE_FLAG_H_

#include <CLI/CLI.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace convd {

// A flag that takes one of a few words, each of which stands for a value; `chosen` outlives the
// app. Any other word is refused with those that would be right.
template <typename T>
CLI::Option* AddChoiceFlag(CLI::App& app, const std::string& name,
                           std::vector<std::pair<std::string, T>> choices,
                           const std::string& description, T& chosen) {
  const std::string words =
      absl::StrJoin(choices, ", ", [](std::string* out, const std::pair<std::string, T>& choice) {
        absl::StrAppend(out, choice.first);
      });
  const auto is_choice = [choices, words](std::string& text) -> std::string {
    for (const auto& [word, value] : choices) {
      if (text == word) return "";
    }
    return absl::StrCat("got \"", absl::Utf8SafeCEscape(text.substr(0, 80)), "\"; want one of ",
                        words);
  };
  const auto set = [choices = std::move(choices), &chosen](const std::string& text) {
    for (const auto& [word, value] : choices) {
      if (text == word) chosen = value;
    }
  };
  return app.add_option_function<std::string>(name, set, description + ": " + words)
      ->check(CLI::Validator(is_choice, ""));
}

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_CHOICE_FLAG_H_
