#include "core/data/image_decode.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/data/file_format.h"
#include "core/data/image_decoder.h"
#include "core/data/image_storage.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

absl::StatusOr<std::unique_ptr<ImageDecoder>> Open(std::string_view file, const std::string& name,
                                                   const DataLimits& limits) {
  if (static_cast<int64_t>(file.size()) > limits.file_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat(name, ": has ", file.size(), " bytes; the limit is ", limits.file_bytes));
  }
  switch (DetectFileFormat(file)) {
    case FileFormat::kPng:
      return OpenPng(file, name, limits);
    case FileFormat::kJpeg:
      return OpenJpeg(file, name, limits);
    default:
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": is ", DescribeFileFormat(file), "; want a PNG or JPEG image"));
  }
}

}  // namespace

absl::Status DecodeImage(std::string_view file, const std::string& name, int height, int width,
                         int channels, uint8_t* pixels, const DataLimits& limits) {
  CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<ImageDecoder> decoder, Open(file, name, limits));
  if (decoder->height() != height || decoder->width() != width || decoder->channels() != channels) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": is a ", decoder->height(), "x", decoder->width(), "x", decoder->channels(),
        DetectFileFormat(file) == FileFormat::kPng ? " PNG" : " JPEG",
        " (height x width x channels); the model takes ", height, "x", width, "x", channels));
  }
  return decoder->Decode(pixels);
}

absl::StatusOr<ImageSet> DecodeImage(std::string_view file, const std::string& name,
                                     const DataLimits& limits) {
  CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<ImageDecoder> decoder, Open(file, name, limits));
  ImageSet image;
  image.count = 1;
  image.height = decoder->height();
  image.width = decoder->width();
  image.channels = decoder->channels();
  ImageStorage storage;
  CONVD_ASSIGN_OR_RETURN(storage.pixels,
                         HeapArray<char>::Allocate(image.image_bytes(), name, limits.arrays));
  CONVD_RETURN_IF_ERROR(decoder->Decode(reinterpret_cast<uint8_t*>(storage.pixels.data())));
  return OwnImages(image, std::move(storage));
}

}  // namespace convd
