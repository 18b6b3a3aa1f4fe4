#ifndef CONVD_CLIENT_CONVCTL_WHOLE_NUMBER_H_
#define CONVD_CLIENT_CONVCTL_WHOLE_NUMBER_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <limits>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace convd {

// For a flag of type T (32 or 64 bits): a decimal number of at least `least` that T can hold, or
// the flag, what it got and what would be right. CLI11 alone makes 18446744073709551615 of -1, and
// the largest number of a larger one.
template <typename T>
CLI::Validator WholeNumber(int64_t least = std::numeric_limits<T>::min()) {
  return CLI::Validator(
      [least](std::string& text) -> std::string {
        T value;
        const bool is_number = text.find_first_not_of("-0123456789") == std::string::npos &&
                               absl::SimpleAtoi(absl::string_view(text), &value);
        // Below zero, T is signed and no wider than `least`.
        if (is_number &&
            (value >= 0 ? least <= 0 || static_cast<uint64_t>(value) >= static_cast<uint64_t>(least)
                        : static_cast<int64_t>(value) >= least)) {
          return "";
        }
        return absl::StrCat("got \"", absl::Utf8SafeCEscape(text.substr(0, 80)),
                            "\"; want a whole number, ", least, " to ",
                            std::numeric_limits<T>::max());
      },
      "");
}

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_WHOLE_NUMBER_H_
