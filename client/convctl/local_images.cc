#include "client/convctl/local_images.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/convctl/exit_code.h"
#include "core/data/file_format.h"
#include "core/data/gzip.h"
#include "core/data/idx.h"
#include "core/data/image_file.h"
#include "core/data/image_storage.h"
#include "core/data/limits.h"
#include "core/data/npz.h"
#include "core/status/status_macros.h"
#include "core/storage/file_system.h"

namespace convd {

namespace {

// What the readers of core/data say of a local file is the user's to put right.
absl::Status AsUsageError(const absl::Status& status) {
  return UsageError(std::string_view(status.message().data(), status.message().size()));
}

absl::StatusOr<ImageSet> ReadImages(std::string_view bytes, const std::string& path,
                                    const std::string& labels_path) {
  const DataLimits limits;
  CONVD_ASSIGN_OR_RETURN(const PlainBytes plain,
                         InflateIfGzip(bytes, path, limits.decompressed_bytes));
  const FileFormat format = DetectFileFormat(plain.view);
  if (format == FileFormat::kIdx && !labels_path.empty()) {
    CONVD_ASSIGN_OR_RETURN(const auto labels, FileSystem::Posix().Map(labels_path));
    return ReadIdx(plain.view, path, labels->data(), labels_path, limits);
  }
  if (!labels_path.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is no IDX file, and holds its own labels; leave --labels out"));
  }
  if (format == FileFormat::kZip) {
    CONVD_ASSIGN_OR_RETURN(const auto splits, NpzSplits(plain.view, path, limits));
    // As Evaluate chooses a dataset's.
    const bool test = std::find(splits.begin(), splits.end(), "test") != splits.end();
    return ReadNpz(plain.view, path, limits, test ? "test" : "");
  }
  return ReadImageFile({plain.view, path}, nullptr, limits);
}

}  // namespace

absl::StatusOr<ImageSet> ReadLocalImages(const std::string& path, const std::string& labels_path) {
  const auto file = FileSystem::Posix().Map(path);
  if (!file.ok()) return AsUsageError(file.status());
  absl::StatusOr<ImageSet> images = ReadImages((*file)->data(), path, labels_path);
  if (!images.ok()) return AsUsageError(images.status());
  return images;
}

absl::StatusOr<ImageSet> ReadChosenImages(const std::string& path, const std::string& labels_path,
                                          const std::vector<int64_t>& indices) {
  const absl::StatusOr<ImageSet> all = ReadLocalImages(path, labels_path);
  if (!all.ok()) return all.status();
  struct Chosen {
    std::vector<char> pixels;
    std::vector<int32_t> labels;
  };
  const auto chosen = std::make_shared<Chosen>();
  for (const int64_t index : indices) {
    if (index < 0 || index >= all->count) {
      return UsageError(absl::StrCat("--index ", index, ": ", path, " has ", all->count,
                                     " images, from 0 to ", all->count - 1));
    }
    chosen->pixels.insert(chosen->pixels.end(), all->image(index),
                          all->image(index) + all->image_bytes());
    if (!all->labels.empty()) chosen->labels.push_back(all->labels[index]);
  }
  ImageSet images = *all;
  images.count = static_cast<int64_t>(indices.size());
  images.pixels = chosen->pixels.data();
  images.labels = absl::MakeConstSpan(chosen->labels);
  images.owner = chosen;
  return images;
}

v1::Images RawImagesOf(const ImageSet& images) {
  v1::Images request;
  v1::RawImages& raw =
      images.type == ElementType::kUint8 ? *request.mutable_uint8() : *request.mutable_float32();
  raw.set_count(images.count);
  raw.set_height(images.height);
  raw.set_width(images.width);
  raw.set_channels(images.channels);
  raw.set_data(images.image(0), static_cast<size_t>(images.count * images.image_bytes()));
  return request;
}

absl::StatusOr<ImageSet> ImagesOf(const v1::Images& images) {
  if (!images.has_uint8() && !images.has_float32()) {
    return absl::InvalidArgumentError("images: want uint8 or float32");
  }
  const v1::RawImages& raw = images.has_uint8() ? images.uint8() : images.float32();
  CONVD_RETURN_IF_ERROR(CheckImageShape("images", raw.count(), raw.height(), raw.width(),
                                        raw.channels(), DataLimits()));
  ImageSet set;
  set.count = raw.count();
  set.height = raw.height();
  set.width = raw.width();
  set.channels = raw.channels();
  set.type = images.has_uint8() ? ElementType::kUint8 : ElementType::kFloat32;
  set.pixels = raw.data().data();
  if (set.count * set.image_bytes() == static_cast<int64_t>(raw.data().size())) return set;
  return absl::InvalidArgumentError(
      absl::StrCat("images: has ", raw.data().size(), " bytes of pixels; want ",
                   set.count * set.image_bytes(), " for ", set.count, " of ", ShapeText(set)));
}

absl::StatusOr<ImageSet> DecodeImageFile(std::string_view data, const std::string& path,
                                         const ImageConversion& to) {
  // The shape is a server's word.
  absl::Status status = CheckImageShape(path, 1, to.height, to.width, to.channels, DataLimits());
  if (!status.ok()) return AsUsageError(status);
  ImageSet image;
  image.count = 1;
  image.height = to.height;
  image.width = to.width;
  image.channels = to.channels;
  const auto pixels = std::make_shared<std::vector<uint8_t>>(image.image_elements());
  status = DecodeImage(data, path, to, pixels->data());
  if (!status.ok()) return AsUsageError(status);
  image.pixels = pixels->data();
  image.owner = pixels;
  return image;
}

PixelImage Drawable(const ImageSet& images, int64_t i, std::vector<uint8_t>& buffer) {
  const size_t elements = static_cast<size_t>(images.image_elements());
  PixelImage image = {images.height, images.width, images.channels, {}};
  if (images.type == ElementType::kUint8) {
    image.pixels = absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(images.image(i)), elements);
    return image;
  }
  const float* const values = reinterpret_cast<const float*>(images.image(i));
  buffer.resize(elements);
  for (size_t e = 0; e < elements; ++e) {
    // Not a number is black.
    buffer[e] = values[e] > 0 ? static_cast<uint8_t>(std::lround(std::min(values[e], 255.0f))) : 0;
  }
  image.pixels = absl::MakeConstSpan(buffer);
  return image;
}

}  // namespace convd
