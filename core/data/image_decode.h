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

// PNG and JPEG files, told apart by their first bytes, as uint8 pixels with channels innermost.
//
// Taken as they are: 8-bit grey (one channel) and RGB (three). Widened without loss: grey of 1, 2
// and 4 bits to its 8-bit values, palettes to RGB. Refused by name: 16 bits, alpha, transparent
// colours, CMYK. Gamma, colour profiles and EXIF orientation are left alone. A damaged or truncated
// file is refused, even where a decoder could make something up.
//
// INVALID_ARGUMENT begins with `name`; RESOURCE_EXHAUSTED past a limit, seen from the header before
// anything is decoded. Any thread may call.

// Fills `pixels` (height * width * channels) from a file of exactly that shape; another one is
// refused, before it is decoded, with what it has and what the model takes. `pixels` holds rubbish
// after an error.
absl::Status DecodeImage(std::string_view file, const std::string& name, int height, int width,
                         int channels, uint8_t* pixels, const DataLimits& limits = {});

// One unlabelled image, which owns its pixels, of whatever shape the file has.
absl::StatusOr<ImageSet> DecodeImage(std::string_view file, const std::string& name,
                                     const DataLimits& limits = {});

}  // namespace convd

#endif  // CONVD_CORE_DATA_IMAGE_DECODE_H_
