#include "core/data/image_decode.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/data/file_format.h"
#include "core/data/heap_array.h"
#include "core/data/image_decoder.h"
#include "core/data/image_resize.h"
#include "core/data/image_storage.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

absl::StatusOr<std::unique_ptr<ImageDecoder>> Open(std::string_view file, const std::string& name,
                                                   const DataLimits& limits) {
  if (static_cast<int64_t>(file.size()) > limits.file_bytes) {
    return absl::InvalidArgumentError(
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

bool IsTurned(int orientation) { return orientation >= 5; }  // height and width swapped

// The image as it is to be seen, of pixels as they lie in the file. Orientation says which sides of
// the file's image the first row and the first column are.
PixelView Upright(const ImageDecoder& decoder, const uint8_t* pixels, int channels) {
  const ptrdiff_t down = ptrdiff_t{decoder.width()} * channels;
  const bool from_bottom = decoder.orientation() == 3 || decoder.orientation() == 4 ||
                           decoder.orientation() == 6 || decoder.orientation() == 7;
  const bool from_right = decoder.orientation() == 2 || decoder.orientation() == 3 ||
                          decoder.orientation() == 7 || decoder.orientation() == 8;
  PixelView view;
  view.first = pixels;
  if (from_bottom) view.first += (decoder.height() - 1) * down;
  if (from_right) view.first += ptrdiff_t{decoder.width() - 1} * channels;
  view.row_step = from_bottom ? -down : down;
  view.column_step = from_right ? -channels : channels;
  view.height = decoder.height();
  view.width = decoder.width();
  view.channels = channels;
  if (IsTurned(decoder.orientation())) {
    std::swap(view.row_step, view.column_step);
    std::swap(view.height, view.width);
  }
  return view;
}

// In place.
void RgbToGrey(uint8_t* pixels, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* const rgb = pixels + 3 * i;
    pixels[i] =
        static_cast<uint8_t>((19595 * rgb[0] + 38470 * rgb[1] + 7471 * rgb[2] + 32768) >> 16);
  }
}
void GreyToRgb(uint8_t* pixels, int64_t count) {
  for (int64_t i = count - 1; i >= 0; --i) std::fill_n(pixels + 3 * i, 3, pixels[i]);
}

// Steps 1 to 5.
absl::Status Convert(ImageDecoder& decoder, const std::string& name, int height, int width,
                     int channels, uint8_t* pixels, const DataLimits& limits) {
  const bool as_it_is = decoder.orientation() == 1 && decoder.height() == height &&
                        decoder.width() == width && decoder.channels() == channels;
  const int64_t count = int64_t{decoder.height()} * decoder.width();
  const int64_t memory = decoder.library_bytes() + (as_it_is ? 0 : count * decoder.channels());
  if (memory > limits.decoding_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": decoding its ", decoder.height(), "x", decoder.width(), " pixels would take ",
        memory, " bytes of memory; the limit is ", limits.decoding_bytes,
        decoder.library_bytes() > 0 ? ". A JPEG that isn't progressive takes less" : ""));
  }
  if (as_it_is) return decoder.Decode(pixels);
  CONVD_ASSIGN_OR_RETURN(auto decoded,
                         HeapArray<uint8_t>::Allocate(count * decoder.channels(), name));
  CONVD_RETURN_IF_ERROR(decoder.Decode(decoded.data()));
  if (channels < decoder.channels()) RgbToGrey(decoded.data(), count);
  const int fewest = std::min(channels, decoder.channels());
  CONVD_RETURN_IF_ERROR(
      ResizeImage(Upright(decoder, decoded.data(), fewest), height, width, pixels, name));
  if (fewest < channels) GreyToRgb(pixels, int64_t{height} * width);
  return absl::OkStatus();
}

}  // namespace

absl::Status DecodeImage(std::string_view file, const std::string& name, const ImageConversion& to,
                         uint8_t* pixels, const DataLimits& limits) {
  if (to.channels != 1 && to.channels != 3) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": a PNG or JPEG file is for models of 1 channel (grey) or 3 (RGB); ",
                     "the model takes ", to.channels));
  }
  CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<ImageDecoder> decoder, Open(file, name, limits));
  CONVD_RETURN_IF_ERROR(Convert(*decoder, name, to.height, to.width, to.channels, pixels, limits));
  if (to.invert) {
    uint8_t* const end = pixels + int64_t{to.height} * to.width * to.channels;
    std::transform(pixels, end, pixels, [](uint8_t v) { return static_cast<uint8_t>(255 - v); });
  }
  return absl::OkStatus();
}

absl::StatusOr<ImageSet> DecodeImage(std::string_view file, const std::string& name,
                                     const DataLimits& limits) {
  CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<ImageDecoder> decoder, Open(file, name, limits));
  ImageSet image;
  image.count = 1;
  image.height = decoder->height();
  image.width = decoder->width();
  image.channels = decoder->channels();
  if (IsTurned(decoder->orientation())) std::swap(image.height, image.width);
  ImageStorage storage;
  CONVD_ASSIGN_OR_RETURN(storage.pixels,
                         HeapArray<char>::Allocate(image.image_bytes(), name, limits.arrays));
  CONVD_RETURN_IF_ERROR(Convert(*decoder, name, image.height, image.width, image.channels,
                                reinterpret_cast<uint8_t*>(storage.pixels.data()), limits));
  return OwnImages(image, std::move(storage));
}

}  // namespace convd
