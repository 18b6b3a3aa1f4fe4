#ifndef CONVD_CORE_DATA_IMAGE_DECODER_H_
#define CONVD_CORE_DATA_IMAGE_DECODER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/data/limits.h"

namespace convd {

// One file whose header is read and whose pixels aren't yet: the first steps of image_decode.h, a
// format at a time. One thread at a time; the file's bytes outlive it.
class ImageDecoder {
 public:
  virtual ~ImageDecoder() = default;

  // Of the image as it lies in the file; within the limits.
  int height() const { return height_; }
  int width() const { return width_; }
  // Of the decoded image: 1 (grey) or 3 (RGB).
  int channels() const { return channels_; }
  // By EXIF: 1 (upright) to 8.
  int orientation() const { return orientation_; }

  // What the format's library keeps of the image while it decodes, but for a few rows.
  int64_t library_bytes() const { return library_bytes_; }

  // Once. Fills height * width * channels bytes, 8 bits a channel, blended onto white.
  virtual absl::Status Decode(uint8_t* pixels) = 0;

 protected:
  int height_ = 0;
  int width_ = 0;
  int channels_ = 0;
  int orientation_ = 1;
  int64_t library_bytes_ = 0;
};

// INVALID_ARGUMENT for a header that is damaged or of a kind that isn't taken.
absl::StatusOr<std::unique_ptr<ImageDecoder>> OpenPng(std::string_view file,
                                                      const std::string& name,
                                                      const DataLimits& limits);
absl::StatusOr<std::unique_ptr<ImageDecoder>> OpenJpeg(std::string_view file,
                                                       const std::string& name,
                                                       const DataLimits& limits);

}  // namespace convd

#endif  // CONVD_CORE_DATA_IMAGE_DECODER_H_
