#include "tests/fuzz/promises.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "core/data/image_decode.h"

namespace convd {

DataLimits FuzzedLimits() {
  DataLimits limits;
  limits.file_bytes = 1 << 20;
  limits.upload_bytes = 1 << 20;
  limits.decompressed_bytes = 1 << 20;
  limits.dataset_bytes = 1 << 22;
  limits.samples = 1 << 16;
  limits.image_pixels = 1 << 16;
  limits.array_elements = 1 << 20;
  limits.classes = 300;
  limits.files = 10;
  limits.image_files = 100;
  limits.splits = 4;
  return limits;
}

void Promise(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "Broken promise: %s\n", what);
  std::abort();
}

void PromiseRefusal(const absl::Status& status) {
  const bool expected = absl::IsInvalidArgument(status) || absl::IsNotFound(status);
  if (!expected || !absl::StartsWith(status.message(), kFuzzedFile)) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
  }
  Promise(expected, "a refusal is INVALID_ARGUMENT or NOT_FOUND");
  Promise(absl::StartsWith(status.message(), kFuzzedFile), "a refusal begins with the file's name");
  Promise(status.message().size() < 8192, "a refusal is short, whatever the file says");
}

void PromiseImages(const absl::StatusOr<ImageSet>& images) {
  if (!images.ok()) return PromiseRefusal(images.status());
  const DataLimits limits = FuzzedLimits();
  Promise(images->count > 0 && images->height > 0 && images->width > 0 && images->channels > 0,
          "there are images, and they have pixels");
  Promise(images->count <= limits.samples, "samples are within their limit");
  Promise(int64_t{images->height} * images->width <= limits.image_pixels,
          "an image's pixels are within their limit");
  const int64_t bytes = images->count * images->image_bytes();
  Promise(bytes <= limits.dataset_bytes, "a dataset's bytes are within their limit");
  // Read as what they are, so that the sanitizers see an end or an alignment that is wrong.
  if (images->type == ElementType::kFloat32) {
    const float* const values = static_cast<const float*>(images->pixels);
    for (int64_t i = 0; i < bytes / 4; ++i)
      Promise(values[i] - values[i] == 0, "pixels are finite");
  } else {
    const std::vector<char> copy(images->image(0), images->image(0) + bytes);
  }
  Promise(images->labels.empty() || static_cast<int64_t>(images->labels.size()) == images->count,
          "there is a label for each image, or none");
  for (const int32_t label : images->labels) {
    Promise(label >= 0 && label < limits.classes, "labels are of a class");
  }
}

void PromiseDecodedImage(std::string_view file) {
  const DataLimits limits = FuzzedLimits();
  const absl::StatusOr<ImageSet> image = DecodeImage(file, kFuzzedFile, limits);
  PromiseImages(image);
  if (!image.ok()) return;
  Promise(image->count == 1 && image->type == ElementType::kUint8, "a file is one image of bytes");
  const std::vector<char> want(image->image(0), image->image(0) + image->image_bytes());
  std::vector<uint8_t> pixels(want.size());
  const ImageConversion same = {image->height, image->width, image->channels};
  Promise(DecodeImage(file, kFuzzedFile, same, pixels.data(), limits).ok(),
          "what decodes to a shape decodes where that shape is wanted");
  Promise(std::memcmp(pixels.data(), want.data(), want.size()) == 0, "an image decodes the same");
  // Smaller and larger, of either number of channels; what is written beyond ends the process.
  for (const int channels : {1, 3}) {
    for (const auto& [height, width] : {std::pair{5, 7}, std::pair{1, 300}}) {
      std::vector<uint8_t> other(size_t{1} * height * width * channels);
      const ImageConversion to = {height, width, channels, /*invert=*/channels == 1};
      Promise(DecodeImage(file, kFuzzedFile, to, other.data(), limits).ok(),
              "what decodes becomes any shape");
    }
  }
  ImageConversion none = same;
  none.channels = 2;
  PromiseRefusal(DecodeImage(file, kFuzzedFile, none, pixels.data(), limits));
}

}  // namespace convd
