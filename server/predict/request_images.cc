#include "server/predict/request_images.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/data/finite.h"
#include "core/data/heap_array.h"
#include "core/data/image_decode.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

std::string Text(Shape shape) {
  return absl::StrCat(shape.height, "x", shape.width, "x", shape.channels);
}

absl::Status CheckCount(absl::string_view field, absl::string_view member, int64_t count,
                        int64_t max_images) {
  if (count >= 1 && count <= max_images) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      field, member, ": got ", count, " images; want 1 to ", max_images, " in one request"));
}

}  // namespace

absl::StatusOr<RequestImages> RequestImages::FromPixels(
    absl::string_view field, ElementType type, int64_t count, Shape got, absl::string_view bytes,
    Shape shape, int64_t max_images, std::shared_ptr<const void> owner, int64_t held) {
  CONVD_RETURN_IF_ERROR(CheckCount(field, ".count", count, max_images));
  if (got != shape) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ": got images of ", Text(got),
                     " (height x width x channels); this model takes ", Text(shape)));
  }
  const int64_t element = type == ElementType::kUint8 ? 1 : 4;
  // The shape is the model's, so the product is bounded.
  const int64_t want = count * shape.elements() * element;
  if (static_cast<int64_t>(bytes.size()) != want) {
    return absl::InvalidArgumentError(absl::StrCat(
        field, ".data: got ", bytes.size(), " bytes; ", count, " images of ", Text(shape), " with ",
        element, element == 1 ? " byte" : " bytes", " an element are ", want));
  }
  RequestImages result;
  result.shape_ = shape;
  result.count_ = count;
  result.request_bytes_ = std::max(want, held);
  result.owner_ = std::move(owner);
  ImageSet& raw = result.raw_;
  raw.count = count;
  raw.height = shape.height;
  raw.width = shape.width;
  raw.channels = shape.channels;
  raw.type = type;
  raw.pixels = bytes.data();
  raw.owner = result.owner_;
  if (type == ElementType::kFloat32) {
    result.field_ = absl::StrCat(field, ".data");
    if (reinterpret_cast<uintptr_t>(bytes.data()) % alignof(float) != 0) {
      CONVD_ASSIGN_OR_RETURN(auto copy,
                             HeapArray<char>::Allocate(want, absl::StrCat(field, ".data")));
      std::memcpy(copy.data(), bytes.data(), bytes.size());
      raw.pixels = copy.data();
      raw.owner = std::make_shared<HeapArray<char>>(std::move(copy));
    }
  }
  return result;
}

absl::StatusOr<RequestImages> RequestImages::FromSet(absl::string_view field, ImageSet images,
                                                     Shape shape) {
  const Shape got = {images.height, images.width, images.channels};
  if (got != shape) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ": has images of ", Text(got),
                     " (height x width x channels); this model takes ", Text(shape)));
  }
  RequestImages result;
  result.shape_ = shape;
  result.count_ = images.count;
  result.field_ = std::string(field);
  result.owner_ = images.owner;
  result.raw_ = std::move(images);
  return result;
}

absl::StatusOr<RequestImages> RequestImages::Create(const v1::Images& images, Shape shape,
                                                    int64_t max_images, const DataLimits& files,
                                                    std::shared_ptr<const void> owner) {
  const auto from_raw = [&](absl::string_view field, ElementType type, const v1::RawImages& raw) {
    return FromPixels(field, type, raw.count(), {raw.height(), raw.width(), raw.channels()},
                      raw.data(), shape, max_images, std::move(owner));
  };
  switch (images.kind_case()) {
    case v1::Images::kUint8:
      return from_raw("images.uint8", ElementType::kUint8, images.uint8());
    case v1::Images::kFloat32:
      return from_raw("images.float32", ElementType::kFloat32, images.float32());
    case v1::Images::kEncoded:
      break;
    case v1::Images::kDataset:
      return absl::InvalidArgumentError(
          "images.dataset: only Predict and PredictStream take it; want uint8, float32 or encoded");
    case v1::Images::KIND_NOT_SET:
      return absl::InvalidArgumentError("images: got none; want uint8, float32 or encoded");
  }
  CONVD_RETURN_IF_ERROR(
      CheckCount("images.encoded", ".files", images.encoded().files_size(), max_images));
  RequestImages result;
  result.shape_ = shape;
  result.count_ = images.encoded().files_size();
  for (const std::string& file : images.encoded().files()) {
    result.request_bytes_ += static_cast<int64_t>(file.size());
  }
  result.encoded_ = &images.encoded();
  result.file_limits_ = files;
  result.owner_ = std::move(owner);
  ImageSet& raw = result.raw_;
  raw.count = result.count_;
  raw.height = shape.height;
  raw.width = shape.width;
  raw.channels = shape.channels;
  return result;
}

absl::Status RequestImages::CheckPixels(const ImageSet& images, int64_t first) const {
  return CheckFinite(field_, images, first);
}

int64_t RequestImages::bytes(int64_t n) const { return n * raw_.image_bytes(); }

absl::StatusOr<ImageSet> RequestImages::Read(int64_t begin, int64_t n,
                                             absl::FunctionRef<absl::Status()> still_wanted) const {
  if (encoded_ == nullptr) {
    ImageSet images = raw_.Slice(begin, n);
    CONVD_RETURN_IF_ERROR(CheckPixels(images, begin));
    return images;
  }
  ImageSet images = raw_;
  images.count = n;
  CONVD_ASSIGN_OR_RETURN(auto pixels,
                         HeapArray<uint8_t>::Allocate(n * images.image_bytes(), "images.encoded"));
  for (int64_t i = 0; i < n; ++i) {
    CONVD_RETURN_IF_ERROR(still_wanted());
    const int index = static_cast<int>(begin + i);
    CONVD_RETURN_IF_ERROR(
        DecodeImage(encoded_->files(index), absl::StrCat("images.encoded.files[", index, "]"),
                    {shape_.height, shape_.width, shape_.channels, encoded_->invert()},
                    pixels.data() + i * images.image_bytes(), file_limits_));
  }
  images.pixels = pixels.data();
  images.owner = std::make_shared<HeapArray<uint8_t>>(std::move(pixels));
  return images;
}

}  // namespace convd
