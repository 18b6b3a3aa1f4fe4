#ifndef CONVD_CORE_DNN_GATHER_H_
#define CONVD_CORE_DNN_GATHER_H_

#include <array>
#include <cstdint>

#include "absl/status/status.h"
#include "convd/v1/model.pb.h"
#include "core/dnn/quantization.h"
#include "core/nn/graph.h"

namespace convd {

struct MicroBatch;

// The furthest that augmentation moves a sample, whatever its size.
inline constexpr int kMostShift = 64;

// INVALID_ARGUMENT names augmentation.shift where it isn't from 0 to kMostShift and less than the
// images' height and width. Any thread may call.
absl::Status CheckAugmentation(const v1::Augmentation& augmentation, const Shape& image);

// What augmentation does to one sample in one epoch: it is moved, then mirrored. A plain value.
struct SampleMotion {
  int down = 0;  // pixels; negative: up
  int right = 0;
  bool flip = false;  // left to right
};

// Drawn as random.h says: the same whoever asks, and however often. Any thread may call.
SampleMotion DrawMotion(const v1::Augmentation& augmentation, uint64_t seed, uint32_t epoch,
                        uint32_t sample);

// Brings a micro-batch's samples from the data set into a plan's input, as floats. Immutable; any
// thread may call.
class PixelGather {
 public:
  // `image` as the data set has it. Gathered pixels are multiplied by `scale` and lie `channels`
  // floats apart, at least the image's; what is between is left as it is, which the plan's input
  // starts with as zeros. `images` are written, as zeros those that a micro-batch hasn't.
  // REQUIRES: CheckAugmentation takes `augmentation`.
  PixelGather(const Shape& image, int channels, float scale, int64_t images,
              const v1::Augmentation& augmentation);

  // `to` takes images x height x width x channels floats. Augments by the micro-batch's seed and
  // epoch.
  void operator()(const MicroBatch& batch, float* to) const;

 private:
  // Pixels [from, from + count) of an image to `to`.
  template <typename T>
  void Copy(const T* from, int64_t count, float* to) const;
  template <typename T>
  void Move(const T* image, const SampleMotion& motion, float* to) const;
  void Mirror(float* image) const;

  const Shape image_;
  const int channels_;
  const float scale_;
  const int64_t images_;
  const v1::Augmentation augmentation_;
  const bool augments_;
};

// The same for a plan whose first layer multiplies bytes: the bytes that stand for pixels times the
// scale. Such a plan doesn't train, so it doesn't augment. Immutable; any thread may call.
class ByteGather {
 public:
  // REQUIRES: ActiveInt8Kernels() isn't null.
  ByteGather(const Shape& image, float scale, int64_t images, const InputScale& input);

  // `to` takes images x height x width x channels bytes.
  void operator()(const MicroBatch& batch, uint8_t* to) const;

 private:
  const int64_t elements_;  // of an image
  const float scale_;
  const int64_t images_;
  const InputScale input_;
  std::array<uint8_t, 256> byte_of_;  // what stands for each pixel that is a byte
  bool same_ = true;                  // itself
};

}  // namespace convd

#endif  // CONVD_CORE_DNN_GATHER_H_
