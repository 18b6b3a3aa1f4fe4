#ifndef CONVD_CLIENT_CONVCTL_IMAGE_SIZE_FLAG_H_
#define CONVD_CLIENT_CONVCTL_IMAGE_SIZE_FLAG_H_

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "convd/v1/datasets.pb.h"

namespace convd {

// "28x28", or "28x28x1" with the channels, as a size; none where it can't be one.
std::optional<v1::ImageSize> ParseImageSize(const std::string& text);

// A flag that sets `size`, which outlives the parsing. What can't be one is refused with what would
// be right.
CLI::Option* AddImageSizeFlag(CLI::App& app, v1::ImageSize& size, const std::string& name,
                              const std::string& description);

// --image-size: the same for datasets of PNG and JPEG files.
CLI::Option* AddImageSizeFlag(CLI::App& app, v1::ImageSize& size);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_IMAGE_SIZE_FLAG_H_
