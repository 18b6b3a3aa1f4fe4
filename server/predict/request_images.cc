#include "server/predict/request_images.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/data/finite.h"
#include "core/data/image_decode.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

std::string Text(Shape shape) {
  return absl::StrCat(shape.height, "x", shape.width, "x", shape.channels);
}

absl::Status CheckCount(const char* field, int64_t count, int64_t max_images) {
  if (count >= 1 && count <= max_images) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": got ", count, " images; want 1 to ", max_images, " in one request"));
}

absl::Status CheckRaw(const std::string& field, const v1::RawImages& raw, Shape shape,
                      int64_t element_bytes, int64_t max_images) {
  CONVD_RETURN_IF_ERROR(CheckCount(absl::StrCat(field, ".count").c_str(), raw.count(), max_images));
  const Shape got{raw.height(), raw.width(), raw.channels()};
  if (got != shape) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ": got images of ", Text(got),
                     " (height x width x channels); this model takes ", Text(shape)));
  }
  // The shape is the model's, so the product is bounded.
  const int64_t want = raw.count() * shape.elements() * element_bytes;
  if (static_cast<int64_t>(raw.data().size()) != want) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ".data: got ", raw.data().size(), " bytes; ", raw.count(),
                     " images of ", Text(shape), " with ", element_bytes,
                     element_bytes == 1 ? " byte" : " bytes", " an element are ", want));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RequestImages> RequestImages::Create(const v1::Images& images, Shape shape,
                                                    int64_t max_images, const DataLimits& files,
                                                    std::shared_ptr<const void> owner) {
  RequestImages result;
  result.shape_ = shape;
  result.owner_ = std::move(owner);
  ImageSet& raw = result.raw_;
  raw.height = shape.height;
  raw.width = shape.width;
  raw.channels = shape.channels;
  raw.owner = result.owner_;
  switch (images.kind_case()) {
    case v1::Images::kUint8:
      CONVD_RETURN_IF_ERROR(CheckRaw("images.uint8", images.uint8(), shape, 1, max_images));
      raw.type = ElementType::kUint8;
      raw.pixels = images.uint8().data().data();
      raw.count = images.uint8().count();
      break;
    case v1::Images::kFloat32: {
      CONVD_RETURN_IF_ERROR(CheckRaw("images.float32", images.float32(), shape, 4, max_images));
      raw.type = ElementType::kFloat32;
      raw.count = images.float32().count();
      const std::string& data = images.float32().data();
      raw.pixels = data.data();
      if (reinterpret_cast<uintptr_t>(data.data()) % alignof(float) != 0) {
        auto copy = std::make_shared<std::vector<float>>(data.size() / sizeof(float));
        std::memcpy(copy->data(), data.data(), data.size());
        raw.pixels = copy->data();
        raw.owner = std::move(copy);
      }
      break;
    }
    case v1::Images::kEncoded:
      CONVD_RETURN_IF_ERROR(
          CheckCount("images.encoded.files", images.encoded().files_size(), max_images));
      raw.count = images.encoded().files_size();
      result.encoded_ = &images.encoded();
      result.file_limits_ = files;
      break;
    case v1::Images::KIND_NOT_SET:
      return absl::InvalidArgumentError("images: got none; want uint8, float32 or encoded");
  }
  result.count_ = raw.count;
  return result;
}

int64_t RequestImages::bytes(int64_t n) const { return n * raw_.image_bytes(); }

absl::StatusOr<ImageSet> RequestImages::Read(int64_t begin, int64_t n,
                                             absl::FunctionRef<absl::Status()> still_wanted) const {
  if (encoded_ == nullptr) {
    ImageSet images = raw_.Slice(begin, n);
    CONVD_RETURN_IF_ERROR(CheckFinite("images.float32.data", images, begin));
    return images;
  }
  ImageSet images = raw_;
  images.count = n;
  auto pixels = std::make_shared<std::vector<uint8_t>>(n * images.image_bytes());
  for (int64_t i = 0; i < n; ++i) {
    CONVD_RETURN_IF_ERROR(still_wanted());
    const int index = static_cast<int>(begin + i);
    CONVD_RETURN_IF_ERROR(
        DecodeImage(encoded_->files(index), absl::StrCat("images.encoded.files[", index, "]"),
                    {shape_.height, shape_.width, shape_.channels, encoded_->invert()},
                    pixels->data() + i * images.image_bytes(), file_limits_));
  }
  images.pixels = pixels->data();
  images.owner = std::move(pixels);
  return images;
}

}  // namespace convd
