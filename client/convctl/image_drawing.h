#ifndef CONVD_CLIENT_CONVCTL_IMAGE_DRAWING_H_
#define CONVD_CLIENT_CONVCTL_IMAGE_DRAWING_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "client/convctl/terminal.h"

namespace convd {

// An image of 8-bit pixels, row by row, channels innermost: 1 (grey) or 3 (RGB). Does not own them.
struct PixelImage {
  int height = 0;
  int width = 0;
  int channels = 0;
  absl::Span<const uint8_t> pixels;  // height * width * channels
};

// A block of text lines that take `width` columns each (escape sequences take none).
struct TextBlock {
  int width = 0;
  std::vector<std::string> lines;
};

// Two rows of pixels a line, so that they look square: half-block characters in 24-bit or 256
// colours, or characters of growing ink where there are no colours or no UTF-8. An image wider than
// `most_columns` is drawn smaller, each character the mean of what it covers. Empty for an image
// without pixels, or whose pixels don't match its size. Any thread may call.
TextBlock DrawImage(const PixelImage& image, int most_columns, const Terminal& terminal);

// Blocks beside each other, `gap` spaces between, centred against the highest.
TextBlock Beside(const std::vector<TextBlock>& blocks, int gap);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_IMAGE_DRAWING_H_
