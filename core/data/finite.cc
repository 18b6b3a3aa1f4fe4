#include "core/data/finite.h"

#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace convd {
namespace {

// Values looked at together, without a branch, so that the compiler uses vectors.
constexpr size_t kBlock = 64;
// All ones in the exponent: infinities and NaNs.
constexpr uint32_t kExponent = 0x7f80'0000;

bool HasNonFinite(const float* block) {
  uint32_t bits[kBlock];
  std::memcpy(bits, block, sizeof bits);
  uint32_t found = 0;
  for (size_t i = 0; i < kBlock; ++i) found |= (bits[i] & kExponent) == kExponent ? 1 : 0;
  return found != 0;
}

}  // namespace

size_t FirstNonFinite(absl::Span<const float> values) {
  size_t i = 0;
  while (i + kBlock <= values.size() && !HasNonFinite(values.data() + i)) i += kBlock;
  while (i < values.size() && std::isfinite(values[i])) ++i;
  return i;
}

absl::Status CheckFinite(absl::string_view what, const ImageSet& images, int64_t first_image) {
  if (images.type != ElementType::kFloat32) return absl::OkStatus();
  const absl::Span<const float> values(static_cast<const float*>(images.pixels),
                                       images.count * images.image_elements());
  const size_t at = FirstNonFinite(values);
  if (at == values.size()) return absl::OkStatus();
  const int64_t image = static_cast<int64_t>(at) / images.image_elements();
  const int64_t element = static_cast<int64_t>(at) % images.image_elements();
  const int64_t pixel = element / images.channels;
  return absl::InvalidArgumentError(
      absl::StrCat(what, ": image ", first_image + image, ", row ", pixel / images.width,
                   ", column ", pixel % images.width, ", channel ", element % images.channels,
                   " is ", values[at], "; want finite values"));
}

}  // namespace convd
