#include "core/data/pixels.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/data/finite.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

// Calls take(to, from) for each element: `to` counts up in NHWC order, `from` is where it lies.
// Ends as soon as that returns false.
template <typename Take>
void ForEachElement(const PixelLayout& layout, Take take) {
  int64_t to = 0;
  for (int64_t n = 0; n < layout.size[0]; ++n) {
    for (int64_t h = 0; h < layout.size[1]; ++h) {
      for (int64_t w = 0; w < layout.size[2]; ++w) {
        const int64_t from = n * layout.stride[0] + h * layout.stride[1] + w * layout.stride[2];
        for (int64_t c = 0; c < layout.size[3]; ++c) {
          if (!take(to++, from + c * layout.stride[3])) return;
        }
      }
    }
  }
}

// Integers and bools. `out` has as many elements as the layout.
absl::Status ToBytes(const std::string& name, const NumberType& type, const char* data,
                     const PixelLayout& layout, char* out) {
  if (type.kind == 'u' && type.bytes == 1) {
    if (layout.contiguous()) {
      std::memcpy(out, data, static_cast<size_t>(layout.elements()));
      return absl::OkStatus();
    }
    ForEachElement(layout, [&](int64_t to, int64_t from) {
      out[to] = data[from];
      return true;
    });
    return absl::OkStatus();
  }
  const double white = type.kind == 'b' ? 255 : 1;
  int64_t wrong = -1;
  double value = 0;
  ForEachElement(layout, [&](int64_t to, int64_t from) {
    value = white * NumberAt(type, data + from * type.bytes);
    if (!(value >= 0 && value <= 255)) {
      wrong = to;
      return false;
    }
    out[to] = static_cast<char>(static_cast<unsigned char>(value));
    return true;
  });
  if (wrong < 0) return absl::OkStatus();
  const int64_t channels = layout.size[3];
  const int64_t pixel = wrong / channels;
  const int64_t row = pixel / layout.size[2];
  return absl::InvalidArgumentError(absl::StrCat(
      name, ": image ", row / layout.size[1], ", row ", row % layout.size[1], ", column ",
      pixel % layout.size[2], ", channel ", wrong % channels, " is ", NumberText(value), " (",
      type.Text(), "); want integers of 0 to 255, or float32, which are taken as they are"));
}

absl::Status ToFloats(const std::string& name, const NumberType& type, const char* data,
                      const PixelLayout& layout, float* out) {
  const int64_t* const size = layout.size;
  if (type.bytes == 4 && !type.big_endian && layout.contiguous()) {
    std::memcpy(out, data, static_cast<size_t>(layout.elements()) * 4);
  } else {
    ForEachElement(layout, [&](int64_t to, int64_t from) {
      const double value = NumberAt(type, data + from * type.bytes);
      // A conversion that overflows is undefined; an infinity is refused below.
      out[to] = std::abs(value) > std::numeric_limits<float>::max()
                    ? static_cast<float>(std::copysign(HUGE_VALF, value))
                    : static_cast<float>(value);
      return true;
    });
  }
  ImageSet images;
  images.count = size[0];
  images.height = static_cast<int>(size[1]);
  images.width = static_cast<int>(size[2]);
  images.channels = static_cast<int>(size[3]);
  images.type = ElementType::kFloat32;
  images.pixels = out;
  const absl::Status finite = CheckFinite(name, images);
  if (finite.ok() || type.bytes <= 4) return finite;
  return absl::InvalidArgumentError(absl::StrCat(finite.message(), " (as float32)"));
}

}  // namespace

bool PixelLayout::contiguous() const {
  int64_t want = 1;
  for (int d = 3; d >= 0; --d) {
    if (size[d] != 1 && stride[d] != want) return false;
    want *= size[d];
  }
  return true;
}

int64_t SquareSide(int64_t pixels) {
  // A double has more than half as many digits as the largest square, and so the root of each.
  const int64_t side = std::llround(std::sqrt(static_cast<double>(pixels)));
  return side <= std::numeric_limits<int32_t>::max() && side * side == pixels ? side : 0;
}

absl::StatusOr<ElementType> PixelType(const std::string& name, const NumberType& type) {
  if (IsReadNumber(type)) return type.kind == 'f' ? ElementType::kFloat32 : ElementType::kUint8;
  return absl::InvalidArgumentError(
      absl::StrCat(name, ": has pixels of type ", type.Text(),
                   "; want bool, integers of 0 to 255, float16, float32 or float64"));
}

absl::StatusOr<HeapArray<char>> ConvertPixels(const std::string& name, const NumberType& type,
                                              const char* data, const PixelLayout& layout,
                                              const DataLimits& limits) {
  CONVD_ASSIGN_OR_RETURN(const ElementType element, PixelType(name, type));
  const int64_t elements = layout.elements();
  const bool bytes = element == ElementType::kUint8;
  const int64_t size = bytes ? elements : elements * int64_t{sizeof(float)};
  // float16 becomes twice what the file is known to be within.
  if (size > limits.dataset_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": has pixels of ", size,
                                                   " bytes; the limit of a dataset is ",
                                                   limits.dataset_bytes));
  }
  CONVD_ASSIGN_OR_RETURN(HeapArray<char> pixels,
                         HeapArray<char>::Allocate(size, name, limits.arrays));
  CONVD_RETURN_IF_ERROR(
      bytes ? ToBytes(name, type, data, layout, pixels.data())
            : ToFloats(name, type, data, layout, reinterpret_cast<float*>(pixels.data())));
  return pixels;
}

}  // namespace convd
