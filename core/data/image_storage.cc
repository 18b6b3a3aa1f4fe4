#include "core/data/image_storage.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"

namespace convd {

ImageSet OwnImages(ImageSet shape, ImageStorage storage) {
  auto owner = std::make_shared<const ImageStorage>(std::move(storage));
  shape.pixels = owner->pixels.data() + owner->pixels_offset;
  shape.labels = owner->labels.span();
  shape.owner = std::move(owner);
  return shape;
}

absl::StatusOr<ImageSet> ConcatenateImages(const std::vector<ImageSet>& parts,
                                           const std::vector<std::string>& names,
                                           const DataLimits& limits) {
  if (parts.empty()) return absl::InvalidArgumentError("no images");
  if (parts.size() == 1) return parts[0];
  ImageSet all = parts[0];
  all.count = 0;
  int64_t labels = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (ShapeText(parts[i]) != ShapeText(all)) {
      return absl::InvalidArgumentError(absl::StrCat(names[i], ": has images of ",
                                                     ShapeText(parts[i]), ", but ", names[0],
                                                     " of ", ShapeText(all), "; want the same"));
    }
    all.count += parts[i].count;
    labels += static_cast<int64_t>(parts[i].labels.size());
    CONVD_RETURN_IF_ERROR(
        CheckImageShape(names[i], all.count, all.height, all.width, all.channels, limits));
  }
  ImageStorage storage;
  CONVD_ASSIGN_OR_RETURN(storage.pixels, HeapArray<char>::Allocate(all.count * all.image_bytes(),
                                                                   names[0], limits.arrays));
  CONVD_ASSIGN_OR_RETURN(storage.labels,
                         HeapArray<int32_t>::Allocate(labels, names[0], limits.arrays));
  char* pixels = storage.pixels.data();
  int32_t* label = storage.labels.data();
  for (const ImageSet& part : parts) {
    const size_t bytes = static_cast<size_t>(part.count * part.image_bytes());
    std::memcpy(pixels, part.pixels, bytes);
    pixels += bytes;
    label = std::copy(part.labels.begin(), part.labels.end(), label);
  }
  return OwnImages(all, std::move(storage));
}

std::string ShapeText(const ImageSet& images) {
  return absl::StrCat(images.height, "x", images.width, "x", images.channels,
                      images.type == ElementType::kUint8 ? " uint8" : " float32");
}

absl::Status CheckImageShape(const std::string& name, int64_t count, int64_t height, int64_t width,
                             int64_t channels, const DataLimits& limits) {
  if (count == 0)
    return absl::InvalidArgumentError(absl::StrCat(name, ": holds 0 images; want at least 1"));
  const std::string text = absl::StrCat(count, " images of ", height, "x", width, "x", channels);
  if (count < 0 || height < 1 || width < 1 || channels < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": says ", text, "; want at least 1 of each"));
  }
  if (count > limits.samples) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": says ", text, "; the limit is ", limits.samples, " images"));
  }
  constexpr int64_t kMaxChannels = 1024;
  if (channels > kMaxChannels || height > limits.image_pixels ||
      width > limits.image_pixels / height) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": says ", text, "; the limits are ",
                                                   limits.image_pixels, " pixels an image and ",
                                                   kMaxChannels, " channels"));
  }
  // Both factors are bounded above.
  if (height * width * channels > limits.array_elements / count) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": says ", text, "; the limit is ",
                                                   limits.array_elements, " elements in all"));
  }
  return absl::OkStatus();
}

absl::Status CheckLabels(const std::string& name, absl::Span<const int32_t> labels,
                         int64_t classes) {
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] >= 0 && labels[i] < classes) continue;
    return absl::InvalidArgumentError(absl::StrCat(name, ": the label of sample ", i, " is ",
                                                   labels[i], "; want 0 to ", classes - 1));
  }
  return absl::OkStatus();
}

}  // namespace convd
