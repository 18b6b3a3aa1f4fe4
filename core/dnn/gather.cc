#include "core/dnn/gather.h"

#include <xmmintrin.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/dnn/int8_kernels.h"
#include "core/dnn/kernels.h"
#include "core/dnn/plan.h"
#include "core/random/random.h"

namespace convd {
namespace {

// In place. kChannels is `channels`, or 0 for any: where the compiler knows three channels
// mirroring took half the time, and of one channel, four pixels at once, a quarter.
template <int kChannels>
void MirrorRows(int64_t height, int64_t width, int channels, float* image) {
  if constexpr (kChannels > 0) channels = kChannels;
  for (int64_t row = 0; row < height; ++row, image += width * channels) {
    float* left = image;
    float* right = image + width * channels;  // of what is still to do
    if constexpr (kChannels == 1) {
      for (; right - left >= 8; left += 4, right -= 4) {
        const __m128 l = _mm_loadu_ps(left), r = _mm_loadu_ps(right - 4);
        _mm_storeu_ps(left, _mm_shuffle_ps(r, r, _MM_SHUFFLE(0, 1, 2, 3)));
        _mm_storeu_ps(right - 4, _mm_shuffle_ps(l, l, _MM_SHUFFLE(0, 1, 2, 3)));
      }
    }
    for (; right - left >= 2 * channels; left += channels, right -= channels) {
      for (int c = 0; c < channels; ++c) std::swap(left[c], right[c - channels]);
    }
  }
}

// The micro-batch's sample `i`.
ImagePixels PixelsOf(const MicroBatch& batch, size_t i) {
  if (batch.images == nullptr) return batch.scattered[i];
  return {batch.images->image(batch.samples[i]), batch.images->type};
}

}  // namespace

absl::Status CheckAugmentation(const v1::Augmentation& augmentation, const Shape& image) {
  const int most = std::min(kMostShift, std::min(image.height, image.width) - 1);
  if (augmentation.shift() >= 0 && augmentation.shift() <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("augmentation.shift: got ", augmentation.shift(),
                                                 "; want 0 to ", most, " pixels for images of ",
                                                 image.height, "x", image.width));
}

SampleMotion DrawMotion(const v1::Augmentation& augmentation, uint64_t seed, uint32_t epoch,
                        uint32_t sample) {
  const std::array<uint32_t, 4> words = RandomBlock(
      {.seed = seed, .purpose = RandomPurpose::kAugmentation, .epoch = epoch, .sample = sample}, 0);
  const int shift = augmentation.shift();
  const auto offset = [shift](uint32_t word) {
    return static_cast<int>((uint64_t{word} * (2 * static_cast<uint64_t>(shift) + 1)) >> 32) -
           shift;
  };
  return {.down = offset(words[1]),
          .right = offset(words[2]),
          .flip = augmentation.horizontal_flip() && words[0] >> 31 != 0};
}

PixelGather::PixelGather(const Shape& image, int channels, float scale, int64_t images,
                         const v1::Augmentation& augmentation)
    : image_(image),
      channels_(channels),
      scale_(scale),
      images_(images),
      augmentation_(augmentation),
      augments_(augmentation.horizontal_flip() || augmentation.shift() != 0) {}

void PixelGather::operator()(const MicroBatch& batch, float* to) const {
  const int64_t pixels = int64_t{image_.height} * image_.width;
  const auto gather = [&](const auto* image, uint32_t sample) {
    if (!augments_) return Copy(image, pixels, to);
    const SampleMotion motion = DrawMotion(augmentation_, batch.seed, batch.epoch, sample);
    Move(image, motion, to);
    if (motion.flip) Mirror(to);
  };
  for (size_t i = 0; i < batch.samples.size(); ++i) {
    const ImagePixels image = PixelsOf(batch, i);
    if (image.type == ElementType::kUint8) {
      gather(static_cast<const uint8_t*>(image.data), batch.samples[i]);
    } else {
      gather(static_cast<const float*>(image.data), batch.samples[i]);
    }
    to += pixels * channels_;
  }
  const int64_t blank = images_ - static_cast<int64_t>(batch.samples.size());
  std::memset(to, 0, blank * pixels * channels_ * sizeof(float));
}

template <typename T>
void PixelGather::Copy(const T* from, int64_t count, float* to) const {
  const int given = image_.channels, channels = channels_;
  const float scale = scale_;  // for all that the compiler knows, `to` might point to the member
  if (channels != given) {
    for (int64_t p = 0; p < count; ++p)
      for (int c = 0; c < given; ++c)
        to[p * channels + c] = static_cast<float>(from[p * given + c]) * scale;
  } else if constexpr (std::is_same_v<T, uint8_t>) {
    ActiveKernels().scale_uint8(count * channels, from, scale, to);
  } else {
    for (int64_t i = 0; i < count * channels; ++i) to[i] = from[i] * scale;
  }
}

// An image lies in memory row after row, so what stays in it when it is moved is copied at once.
// Its rows run over by as much as it moves sideways: what comes in there is cleared, as are the
// rows that come in above or below.
template <typename T>
void PixelGather::Move(const T* image, const SampleMotion& motion, float* to) const {
  const int64_t height = image_.height, width = image_.width, pixels = height * width;
  const int64_t by = motion.down * width + motion.right;
  const int64_t begin = std::max<int64_t>(0, by), end = std::min(pixels, pixels + by);
  Copy(image + (begin - by) * image_.channels, end - begin, to + begin * channels_);
  const auto clear = [&](int64_t first, int64_t count) {
    std::memset(to + first * channels_, 0, count * channels_ * sizeof(float));
  };
  const int64_t top = std::max(0, motion.down), bottom = std::min(height, height + motion.down);
  clear(0, top * width);
  clear(bottom * width, (height - bottom) * width);
  if (motion.right == 0) return;
  const int64_t columns = std::abs(motion.right);
  const int64_t first = motion.right > 0 ? 0 : width - columns;
  for (int64_t row = top; row < bottom; ++row) clear(row * width + first, columns);
}

void PixelGather::Mirror(float* image) const {
  switch (channels_) {
    case 1:
      return MirrorRows<1>(image_.height, image_.width, 1, image);
    case 3:
      return MirrorRows<3>(image_.height, image_.width, 3, image);
    default:
      return MirrorRows<0>(image_.height, image_.width, channels_, image);
  }
}

ByteGather::ByteGather(const Shape& image, float scale, int64_t images, const InputScale& input)
    : elements_(image.elements()), scale_(scale), images_(images), input_(input) {
  float values[256];
  for (int i = 0; i < 256; ++i) values[i] = static_cast<float>(i) * scale_;
  ActiveInt8Kernels()->quantize(256, values, 1 / input_.scale, input_.zero, byte_of_.data());
  for (int i = 0; i < 256; ++i) same_ = same_ && byte_of_[i] == i;
}

void ByteGather::operator()(const MicroBatch& batch, uint8_t* to) const {
  const int64_t elements = elements_;  // bytes that are written might be the member's
  for (size_t sample = 0; sample < batch.samples.size(); ++sample) {
    const ImagePixels image = PixelsOf(batch, sample);
    if (image.type == ElementType::kUint8) {
      const uint8_t* const pixels = static_cast<const uint8_t*>(image.data);
      if (same_) {
        std::memcpy(to, pixels, elements);
      } else {
        for (int64_t i = 0; i < elements; ++i) to[i] = byte_of_[pixels[i]];
      }
    } else {
      const float* const pixels = static_cast<const float*>(image.data);
      constexpr int64_t kTogether = 256;
      float values[kTogether];
      for (int64_t i = 0; i < elements; i += kTogether) {
        const int64_t n = std::min(kTogether, elements - i);
        for (int64_t j = 0; j < n; ++j) values[j] = pixels[i + j] * scale_;
        ActiveInt8Kernels()->quantize(n, values, 1 / input_.scale, input_.zero, to + i);
      }
    }
    to += elements;
  }
  const int64_t blank = images_ - static_cast<int64_t>(batch.samples.size());
  std::memset(to, input_.zero, blank * elements);
}

}  // namespace convd
