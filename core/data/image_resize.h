#ifndef CONVD_CORE_DATA_IMAGE_RESIZE_H_
#define CONVD_CORE_DATA_IMAGE_RESIZE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace convd {

// Pixels that lie anywhere in memory, each row and column a fixed step from the one before, so that
// a turned or mirrored image needs no copy. Does not own them. A plain value.
struct PixelView {
  const uint8_t* first = nullptr;  // channel 0 of the upper left pixel
  ptrdiff_t row_step = 0;          // bytes
  ptrdiff_t column_step = 0;
  int height = 0;
  int width = 0;
  int channels = 0;  // of a pixel, side by side
};

// Fills `to` (height * width * from.channels, channels innermost) with the image stretched to that
// size: bilinear, over a support that grows with the reduction so that no pixel is passed over, the
// sides resized one after the other, widths first. The same bytes as Pillow's
// Image.resize((width, height), BILINEAR), on every CPU: integers, but for the weights. An image of
// that size already is copied.
//
// Takes four bytes an element of `to` and about eight a column of `from`; RESOURCE_EXHAUSTED begins
// with `name`. REQUIRES: sides of 1 to kMaxResizedSide. Any thread may call.
absl::Status ResizeImage(const PixelView& from, int height, int width, uint8_t* to,
                         const std::string& name);

// A JPEG's longest. Weights have 22 bits: with far more pixels to a window they would round to
// nothing.
inline constexpr int kMaxResizedSide = 65'535;

}  // namespace convd

#endif  // CONVD_CORE_DATA_IMAGE_RESIZE_H_
