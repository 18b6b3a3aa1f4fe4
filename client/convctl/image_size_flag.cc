#include "client/convctl/image_size_flag.h"

#include <cstdint>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace convd {

std::optional<v1::ImageSize> ParseImageSize(const std::string& text) {
  std::vector<int32_t> numbers;
  for (const absl::string_view part : absl::StrSplit(text, 'x')) {
    int32_t number = 0;
    if (part.empty() || !absl::ascii_isdigit(static_cast<unsigned char>(part[0])) ||
        !absl::SimpleAtoi(part, &number) || number < 1) {
      return std::nullopt;
    }
    numbers.push_back(number);
  }
  const bool coloured = numbers.size() == 3 && (numbers[2] == 1 || numbers[2] == 3);
  if (numbers.size() != 2 && !coloured) return std::nullopt;
  v1::ImageSize size;
  size.set_height(numbers[0]);
  size.set_width(numbers[1]);
  if (coloured) size.set_channels(numbers[2]);
  return size;
}

CLI::Option* AddImageSizeFlag(CLI::App& app, v1::ImageSize& size, const std::string& name,
                              const std::string& description) {
  const auto is_size = [](std::string& text) -> std::string {
    if (ParseImageSize(text)) return "";
    return absl::StrCat("got \"", absl::Utf8SafeCEscape(text.substr(0, 80)),
                        "\"; want HEIGHTxWIDTH, or HEIGHTxWIDTHx1 for grey and x3 for RGB");
  };
  const auto set = [&size](const std::string& text) {
    if (const auto parsed = ParseImageSize(text)) size = *parsed;
  };
  return app.add_option_function<std::string>(name, set, description)
      ->check(CLI::Validator(is_size, ""))
      ->type_name("HxW[xC]");
}

CLI::Option* AddImageSizeFlag(CLI::App& app, v1::ImageSize& size) {
  return AddImageSizeFlag(
      app, size, "--image-size",
      "What PNG and JPEG files are brought to: HEIGHTxWIDTH[xCHANNELS]; without it all must "
      "have one shape");
}

}  // namespace convd
