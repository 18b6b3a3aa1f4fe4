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

// One file whose header is read and whose pixels aren't yet: what image_decode.h does, a format at
// a time. One thread at a time; the file's bytes outlive it.
class ImageDecoder {
 public:
  virtual ~ImageDecoder() = default;

  // Of the decoded image; within the limits.
  int height() const { return height_; }
  int width() const { return width_; }
  int channels() const { return channels_; }

  // Once. Fills height * width * channels bytes.
  virtual absl::Status Decode(uint8_t* pixels) = 0;

 protected:
  int height_ = 0;
  int width_ = 0;
  int channels_ = 0;
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
