#ifndef CONVD_CORE_DATA_IMAGE_DECODE_H_
#define CONVD_CORE_DATA_IMAGE_DECODE_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/data/dataset.h"
#include "core/data/limits.h"

namespace convd {

// PNG and JPEG files, told apart by their first bytes, to the uint8 pixels that a model takes,
// channels innermost: one conversion, for training, evaluation and prediction alike. In this order:
//
// 1. Decoded to 8 bits a channel. PNG: every kind of the specification; 16 bits are rounded
//    (v * 255 / 65535), fewer bits and palettes widened without loss. JPEG: grey, YCbCr, RGB, CMYK
//    and YCCK, baseline and progressive. Gamma and colour profiles are left alone.
// 2. Blended onto white where there is alpha or a transparent colour, as on a page. Before anything
//    that mixes pixels, or colours that nobody sees would get into their neighbours.
// 3. Turned and mirrored as EXIF's Orientation says. A damaged EXIF block is ignored.
// 4. To grey by luma, (19595 R + 38470 G + 7471 B + 32768) >> 16, where the model has one channel,
//    or grey repeated where it has three. Here, as Pillow's convert("L").resize() does it; what a
//    model gets of a grey image is the same whether it is saved as grey or RGB.
// 5. Stretched to the model's height and width (image_resize.h) where they differ.
// 6. 255 - v, where asked for: models of light strokes on black take dark ones on paper.
//
// So an opaque 8-bit image of the model's own shape gets there as it is. A damaged or truncated
// file is refused, even where a decoder could make something up.
//
// INVALID_ARGUMENT begins with `name`; a limit is seen from the header before anything is decoded.
// Any thread may call.

// What a model takes. A plain value.
struct ImageConversion {
  int height = 0;
  int width = 0;
  int channels = 0;  // others than 1 and 3 are refused
  bool invert = false;
};

// Fills `pixels` (height * width * channels of `to`); they hold rubbish after an error.
// REQUIRES: height and width are at least 1.
absl::Status DecodeImage(std::string_view file, const std::string& name, const ImageConversion& to,
                         uint8_t* pixels, const DataLimits& limits = {});

// Steps 1 to 3 alone: one unlabelled image, which owns its pixels, of the file's own size and 1 or
// 3 channels.
absl::StatusOr<ImageSet> DecodeImage(std::string_view file, const std::string& name,
                                     const DataLimits& limits = {});

}  // namespace convd

#endif  // CONVD_CORE_DATA_IMAGE_DECODE_H_
