#ifndef CONVD_CORE_DATA_EXIF_H_
#define CONVD_CORE_DATA_EXIF_H_

#include <string_view>

namespace convd {

// How an image lies in its file, by EXIF's tag Orientation: 1 (upright) to 8. A block without it,
// or with damage, says 1: the pixels are good all the same. Any thread may call.

// Of an EXIF block, which is a TIFF file: a PNG's eXIf chunk.
int ExifOrientation(std::string_view tiff);

// Of a JPEG file's first EXIF block, an APP1 marker before its pixels.
int JpegOrientation(std::string_view file);

}  // namespace convd

#endif  // CONVD_CORE_DATA_EXIF_H_
