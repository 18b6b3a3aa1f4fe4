#include "client/convctl/image_drawing.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_format.h"
#include "client/convctl/terminal_text.h"

namespace convd {
namespace {

// A tall narrow image would scroll everything else away.
constexpr int kMostRows = 400;

using Rgb = std::array<int, 3>;

// Mean of the pixels in rows [y0, y1) and columns [x0, x1). REQUIRES: not empty, inside the image.
Rgb MeanColor(const PixelImage& image, int y0, int y1, int x0, int x1) {
  std::array<int64_t, 3> sum = {};
  for (int y = y0; y < y1; ++y) {
    for (int x = x0; x < x1; ++x) {
      const size_t at = (size_t{1} * y * image.width + x) * image.channels;
      for (int c = 0; c < 3; ++c) sum[c] += image.pixels[at + (image.channels == 3 ? c : 0)];
    }
  }
  const int64_t count = int64_t{y1 - y0} * (x1 - x0);
  return {static_cast<int>(sum[0] / count), static_cast<int>(sum[1] / count),
          static_cast<int>(sum[2] / count)};
}

// The image scaled down to `columns` x `rows` cells.
std::vector<Rgb> Cells(const PixelImage& image, int columns, int rows) {
  std::vector<Rgb> cells;
  cells.reserve(size_t{1} * columns * rows);
  for (int r = 0; r < rows; ++r) {
    const int y0 = static_cast<int>(int64_t{r} * image.height / rows);
    const int y1 = static_cast<int>(int64_t{r + 1} * image.height / rows);
    for (int c = 0; c < columns; ++c) {
      const int x0 = static_cast<int>(int64_t{c} * image.width / columns);
      const int x1 = static_cast<int>(int64_t{c + 1} * image.width / columns);
      cells.push_back(MeanColor(image, y0, y1, x0, x1));
    }
  }
  return cells;
}

int Luma(const Rgb& color) {  // ITU-R BT.601
  return (299 * color[0] + 587 * color[1] + 114 * color[2]) / 1000;
}

// xterm's 256 colours: 16..231 are a cube of six steps, 232..255 a ramp of greys from 8 by 10.
int Palette256(const Rgb& color) {
  const auto [low, high] = std::minmax({color[0], color[1], color[2]});
  if (high - low < 12) {
    const int grey = Luma(color);
    if (grey < 4) return 16;
    if (grey > 246) return 231;
    return 232 + std::min((grey - 3) / 10, 23);
  }
  const auto step = [](int v) { return v < 48 ? 0 : v < 115 ? 1 : (v - 35) / 40; };
  return 16 + 36 * step(color[0]) + 6 * step(color[1]) + step(color[2]);
}

std::string ColorCode(const Rgb& color, bool foreground, Colors colors) {
  const int kind = foreground ? 38 : 48;
  if (colors == Colors::kTrueColor) {
    return absl::StrFormat("\x1b[%d;2;%d;%d;%dm", kind, color[0], color[1], color[2]);
  }
  return absl::StrFormat("\x1b[%d;5;%dm", kind, Palette256(color));
}

std::string ColorLine(const Rgb* upper, const Rgb* lower, int columns, Colors colors) {
  std::string line;
  std::string current;
  for (int c = 0; c < columns; ++c) {
    std::string codes = ColorCode(upper[c], true, colors);
    // An odd last row has nothing beneath it: the terminal's own background.
    codes += lower == nullptr ? "\x1b[49m" : ColorCode(lower[c], false, colors);
    if (codes != current) line += codes;
    current = codes;
    line += "▀";
  }
  return line + "\x1b[0m";
}

std::string InkLine(const Rgb* upper, const Rgb* lower, int columns) {
  // Growing ink; on a dark terminal growing light, as the pixels mean it.
  static constexpr char kInk[] = " .:-=+*#%@";
  constexpr int kLevels = sizeof(kInk) - 1;
  std::string line;
  for (int c = 0; c < columns; ++c) {
    const int luma = lower == nullptr ? Luma(upper[c]) : (Luma(upper[c]) + Luma(lower[c])) / 2;
    line += kInk[luma * kLevels / 256];
  }
  return line;
}

}  // namespace

TextBlock DrawImage(const PixelImage& image, int most_columns, const Terminal& terminal) {
  TextBlock block;
  const auto values = static_cast<int64_t>(image.pixels.size());
  // Divided, since the product of all three could be beyond what an int64_t holds.
  if (image.height < 1 || image.width < 1 || (image.channels != 1 && image.channels != 3) ||
      values % image.channels != 0 ||
      values / image.channels != int64_t{image.height} * image.width || most_columns < 1) {
    return block;
  }
  const int columns = std::min(image.width, most_columns);
  const int rows = std::max(1, static_cast<int>(int64_t{image.height} * columns / image.width));
  const int kept_rows = std::min({rows, image.height, kMostRows});
  const std::vector<Rgb> cells = Cells(image, columns, kept_rows);
  block.width = columns;
  for (int r = 0; r < kept_rows; r += 2) {
    const Rgb* upper = &cells[size_t{1} * r * columns];
    const Rgb* lower = r + 1 < kept_rows ? upper + columns : nullptr;
    block.lines.push_back(terminal.colors != Colors::kNone && terminal.utf8
                              ? ColorLine(upper, lower, columns, terminal.colors)
                              : InkLine(upper, lower, columns));
  }
  return block;
}

TextBlock Beside(const std::vector<TextBlock>& blocks, int gap) {
  TextBlock all;
  size_t height = 0;
  for (const TextBlock& block : blocks) height = std::max(height, block.lines.size());
  all.lines.resize(height);
  for (size_t b = 0; b < blocks.size(); ++b) {
    const TextBlock& block = blocks[b];
    const size_t top = (height - block.lines.size()) / 2;
    if (b != 0) all.width += gap;
    for (size_t i = 0; i < height; ++i) {
      if (b != 0) all.lines[i].append(gap, ' ');
      if (i < top || i - top >= block.lines.size()) {
        all.lines[i].append(block.width, ' ');
      } else {
        all.lines[i] += block.lines[i - top];
      }
    }
    all.width += block.width;
  }
  return all;
}

}  // namespace convd
