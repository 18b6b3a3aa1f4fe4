#include "core/dnn/gather.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "core/data/dataset.h"
#include "core/dnn/plan.h"

namespace convd {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

v1::Augmentation Augmentation(bool horizontal_flip, int shift) {
  v1::Augmentation augmentation;
  augmentation.set_horizontal_flip(horizontal_flip);
  augmentation.set_shift(shift);
  return augmentation;
}

std::tuple<int, int, bool> Drawn(uint64_t seed, uint32_t epoch, uint32_t sample, int shift) {
  const SampleMotion motion = DrawMotion(Augmentation(true, shift), seed, epoch, sample);
  return {motion.down, motion.right, motion.flip};
}

// The values are those of motion() in tests/core/train/counter_random.py.
TEST(DrawMotion, MatchesNumpy) {
  EXPECT_EQ(Drawn(0, 1, 0, 4), std::tuple(1, -2, true));
  EXPECT_EQ(Drawn(0, 1, 1, 4), std::tuple(2, 2, false));
  EXPECT_EQ(Drawn(0, 1, 2, 4), std::tuple(-3, 1, true));
  EXPECT_EQ(Drawn(0, 2, 0, 4), std::tuple(0, -2, true));
  EXPECT_EQ(Drawn(0, 2, 1, 4), std::tuple(-3, 0, true));
  EXPECT_EQ(Drawn(0xfedcba9876543210, 3, 59999, 2), std::tuple(1, -1, true));
  EXPECT_EQ(Drawn(0xfedcba9876543210, 3, 59998, 2), std::tuple(1, 0, false));
  EXPECT_EQ(Drawn(7, 100000, 0xfffffffe, 64), std::tuple(61, 23, true));
  EXPECT_EQ(Drawn(7, 1, 5, 0), std::tuple(0, 0, false));
  EXPECT_EQ(Drawn(7, 1, 6, 0), std::tuple(0, 0, true));
  EXPECT_EQ(Drawn(7, 1, 5, 13), std::tuple(6, 8, false));
  EXPECT_EQ(Drawn(7, 1, 6, 13), std::tuple(-2, -5, true));
}

TEST(DrawMotion, ShiftIsTheSameWithAndWithoutFlip) {
  for (uint32_t sample = 0; sample < 100; ++sample) {
    const SampleMotion moved = DrawMotion(Augmentation(false, 3), 5, 1, sample);
    EXPECT_FALSE(moved.flip);
    const SampleMotion both = DrawMotion(Augmentation(true, 3), 5, 1, sample);
    EXPECT_EQ(moved.down, both.down);
    EXPECT_EQ(moved.right, both.right);
  }
}

TEST(DrawMotion, TakesEveryPlaceAboutAsOftenAndMirrorsHalf) {
  constexpr int kSamples = 10000;
  std::map<std::pair<int, int>, int> places;
  int flipped = 0;
  for (uint32_t sample = 0; sample < kSamples; ++sample) {
    const auto [down, right, flip] = Drawn(11, 1, sample, 2);
    ++places[{down, right}];
    flipped += flip;
  }
  ASSERT_EQ(places.size(), 25u);
  // Each is 400 expected, with a standard deviation of 20; of the flips 5,000, with one of 50.
  for (const auto& [place, count] : places) {
    EXPECT_LE(std::abs(place.first), 2);
    EXPECT_LE(std::abs(place.second), 2);
    EXPECT_NEAR(count, kSamples / 25, 80) << place.first << ", " << place.second;
  }
  EXPECT_NEAR(flipped, kSamples / 2, 200);
}

TEST(CheckAugmentation, TakesShiftsThatLeaveSomethingOfTheImage) {
  for (const auto& [height, width, most] :
       {std::tuple(28, 28, 27), std::tuple(3, 4, 2), std::tuple(9, 2, 1), std::tuple(1, 9, 0),
        std::tuple(65, 100, 64), std::tuple(1000, 1000, 64)}) {
    const Shape image{height, width, 3};
    for (const int shift : {0, most}) {
      EXPECT_TRUE(CheckAugmentation(Augmentation(true, shift), image).ok()) << shift;
    }
    for (const int shift : {most + 1, -1, INT_MIN, INT_MAX}) {
      const absl::Status status = CheckAugmentation(Augmentation(false, shift), image);
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_EQ(status.message(), "augmentation.shift: got " + std::to_string(shift) +
                                      "; want 0 to " + std::to_string(most) +
                                      " pixels for images of " + std::to_string(height) + "x" +
                                      std::to_string(width));
    }
  }
}

template <typename T>
ImageSet SetOf(const std::vector<T>& pixels, const Shape& image) {
  return {.count = static_cast<int64_t>(pixels.size()) / image.elements(),
          .height = image.height,
          .width = image.width,
          .channels = image.channels,
          .type = sizeof(T) == 1 ? ElementType::kUint8 : ElementType::kFloat32,
          .pixels = pixels.data(),
          .labels = {},
          .owner = nullptr};
}

// Gathers samples (seed 1, epoch 1), and holds that nothing around them is written.
std::vector<float> Gathered(const ImageSet& images, const std::vector<uint32_t>& samples,
                            const v1::Augmentation& augmentation, int channels, int64_t slots,
                            float scale = 1) {
  const Shape image{images.height, images.width, images.channels};
  const PixelGather gather(image, channels, scale, slots, augmentation);
  MicroBatch batch;
  batch.images = &images;
  batch.samples = samples;
  batch.seed = 1;
  batch.epoch = 1;
  constexpr int64_t kAround = 64;
  const int64_t size = slots * image.height * image.width * channels;
  std::vector<float> to(size + 2 * kAround, -77);
  // Of a padded pixel's channels, as in a plan, those that the image hasn't are zeros already.
  if (channels != image.channels) std::fill(to.begin() + kAround, to.end() - kAround, 0.0f);
  gather(batch, to.data() + kAround);
  EXPECT_THAT(absl::MakeSpan(to).first(kAround), Each(-77));
  EXPECT_THAT(absl::MakeSpan(to).last(kAround), Each(-77));
  return {to.begin() + kAround, to.end() - kAround};
}

// 3 high, 4 wide, the same at every index: what becomes of it depends on the sample alone. By
// counter_random.py, with a shift of 1, sample 2 moves up and right, 5 down and left, 7 not at all;
// 8 moves as 5 and is mirrored, 22 moves left and is mirrored.
template <typename T>
class SmallImage : public ::testing::Test {
 protected:
  SmallImage() {
    for (int i = 0; i < 24; ++i) {
      for (int p = 1; p <= 12; ++p) pixels_.push_back(static_cast<T>(p));
    }
  }
  std::vector<float> Of(uint32_t sample, const v1::Augmentation& augmentation, float scale = 1) {
    return Gathered(SetOf(pixels_, {3, 4, 1}), {sample}, augmentation, 1, 1, scale);
  }
  std::vector<T> pixels_;
};
using PixelTypes = ::testing::Types<uint8_t, float>;
TYPED_TEST_SUITE(SmallImage, PixelTypes);

TYPED_TEST(SmallImage, WithoutAugmentationIsTakenAsItIs) {
  for (const uint32_t sample : {2, 5, 7, 8, 22}) {
    EXPECT_THAT(this->Of(sample, {}), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
  }
}

TYPED_TEST(SmallImage, MovesWithZerosComingIn) {
  const v1::Augmentation shift = Augmentation(false, 1);
  EXPECT_THAT(this->Of(2, shift), ElementsAre(0, 5, 6, 7,    //
                                              0, 9, 10, 11,  //
                                              0, 0, 0, 0));
  EXPECT_THAT(this->Of(5, shift), ElementsAre(0, 0, 0, 0,  //
                                              2, 3, 4, 0,  //
                                              6, 7, 8, 0));
  EXPECT_THAT(this->Of(7, shift), ElementsAre(1, 2, 3, 4,  //
                                              5, 6, 7, 8,  //
                                              9, 10, 11, 12));
  // Sample 8 isn't mirrored where nobody asks for it.
  EXPECT_THAT(this->Of(8, shift), ElementsAreArray(this->Of(5, shift)));
}

TYPED_TEST(SmallImage, IsMirroredLeftToRight) {
  const v1::Augmentation flip = Augmentation(true, 0);
  EXPECT_THAT(this->Of(8, flip), ElementsAre(4, 3, 2, 1,  //
                                             8, 7, 6, 5,  //
                                             12, 11, 10, 9));
  EXPECT_THAT(this->Of(5, flip), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
}

TYPED_TEST(SmallImage, IsMovedFirstAndMirroredThen) {
  const v1::Augmentation both = Augmentation(true, 1);
  EXPECT_THAT(this->Of(8, both), ElementsAre(0, 0, 0, 0,  //
                                             0, 4, 3, 2,  //
                                             0, 8, 7, 6));
  EXPECT_THAT(this->Of(22, both), ElementsAre(0, 4, 3, 2,  //
                                              0, 8, 7, 6,  //
                                              0, 12, 11, 10));
}

TYPED_TEST(SmallImage, IsScaledToo) {
  EXPECT_THAT(this->Of(8, Augmentation(true, 1), 0.5f), ElementsAre(0, 0, 0, 0,     //
                                                                    0, 2, 1.5f, 1,  //
                                                                    0, 4, 3.5f, 3));
}

TYPED_TEST(SmallImage, BlanksFollowTheSamples) {
  const auto two = Gathered(SetOf(this->pixels_, {3, 4, 1}), {8, 2}, Augmentation(true, 1), 1, 3);
  EXPECT_THAT(two, ElementsAreArray({0, 0, 0, 0, 0, 4, 3,  2,  0, 8, 7, 6,  //
                                     0, 5, 6, 7, 0, 9, 10, 11, 0, 0, 0, 0,  //
                                     0, 0, 0, 0, 0, 0, 0,  0,  0, 0, 0, 0}));
}

TYPED_TEST(SmallImage, KeepsItsPixelsChannelsTogether) {
  // 2 high, 3 wide, 2 channels: 10 * pixel + channel.
  std::vector<TypeParam> pixels;
  for (int i = 0; i < 24; ++i) {
    for (const int pixel : {1, 2, 3, 4, 5, 6}) {
      pixels.push_back(static_cast<TypeParam>(10 * pixel));
      pixels.push_back(static_cast<TypeParam>(10 * pixel + 1));
    }
  }
  const ImageSet images = SetOf(pixels, {2, 3, 2});
  const v1::Augmentation both = Augmentation(true, 1);
  // Sample 3 moves up and left, sample 22 left; that one is mirrored.
  EXPECT_THAT(Gathered(images, {3}, both, 2, 1), ElementsAre(50, 51, 60, 61, 0, 0,  //
                                                             0, 0, 0, 0, 0, 0));
  EXPECT_THAT(Gathered(images, {22}, both, 2, 1), ElementsAre(0, 0, 30, 31, 20, 21,  //
                                                              0, 0, 60, 61, 50, 51));
  EXPECT_THAT(Gathered(images, {22}, both, 3, 1), ElementsAre(0, 0, 0, 30, 31, 0, 20, 21, 0,  //
                                                              0, 0, 0, 60, 61, 0, 50, 51, 0));
}

// By the definition, pixel by pixel, on images of all sorts and as far as each may be moved.
template <typename T>
void ExpectAsDefined(const Shape& image, int channels, int shift, bool flip) {
  constexpr int kSamples = 40;
  std::vector<T> pixels(kSamples * image.elements());
  uint32_t state = 1;
  for (T& pixel : pixels) {
    pixel = static_cast<T>(1 + ((state = state * 1664525u + 1013904223u) >> 24) % 255);
  }
  const ImageSet images = SetOf(pixels, image);
  const v1::Augmentation augmentation = Augmentation(flip, shift);
  for (uint32_t sample = 0; sample < kSamples; ++sample) {
    const std::vector<float> got = Gathered(images, {sample}, augmentation, channels, 1, 2);
    const auto [down, right, mirror] = DrawMotion(augmentation, 1, 1, sample);
    std::vector<float> want(got.size());
    for (int y = 0; y < image.height; ++y) {
      for (int x = 0; x < image.width; ++x) {
        const int from_y = y - down;
        const int from_x = (mirror ? image.width - 1 - x : x) - right;
        if (from_y < 0 || from_y >= image.height || from_x < 0 || from_x >= image.width) continue;
        for (int c = 0; c < image.channels; ++c) {
          want[(y * image.width + x) * channels + c] =
              2 * static_cast<float>(pixels[sample * image.elements() +
                                            (from_y * image.width + from_x) * image.channels + c]);
        }
      }
    }
    ASSERT_EQ(got, want) << "sample " << sample << " of " << image.height << "x" << image.width
                         << "x" << image.channels << ", shift " << shift;
  }
}

TEST(PixelGather, DoesAsDefinedOnImagesOfAllSorts) {
  for (const Shape& image : {Shape{1, 1, 1}, Shape{1, 7, 2}, Shape{7, 1, 1}, Shape{2, 2, 1},
                             Shape{2, 5, 3}, Shape{5, 2, 4}, Shape{6, 7, 1}, Shape{9, 9, 3},
                             Shape{28, 28, 1}, Shape{33, 17, 3}, Shape{70, 66, 1}}) {
    const int most = std::min({kMostShift, image.height - 1, image.width - 1});
    for (const int shift : {0, most / 2, most}) {
      ASSERT_TRUE(CheckAugmentation(Augmentation(true, shift), image).ok());
      for (const bool flip : {false, true}) {
        for (const int channels : {image.channels, 4}) {
          ExpectAsDefined<uint8_t>(image, channels, shift, flip);
          ExpectAsDefined<float>(image, channels, shift, flip);
        }
      }
    }
  }
}

// One dense layer on images of 3x4, in pixels' own units.
absl::StatusOr<Graph> SmallGraph() {
  v1::Network network;
  network.set_name("n");
  network.mutable_input()->set_height(3);
  network.mutable_input()->set_width(4);
  network.mutable_input()->set_channels(1);
  network.add_layers()->mutable_flatten();
  network.add_layers()->mutable_dense()->set_units(2);
  network.mutable_preprocessing()->set_scale(1);
  return Graph::Create(network);
}

// Only what trains is varied: a plan for inference takes images as they are, whatever its options.
TEST(PixelGather, AugmentsInTrainingPlansOnly) {
  const auto graph = SmallGraph();
  ASSERT_TRUE(graph.ok()) << graph.status();
  std::vector<uint8_t> pixels(24 * 12);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(1 + i % 12);
  ImageSet images = SetOf(pixels, {3, 4, 1});
  const std::vector<int32_t> labels(24);
  images.labels = labels;
  // Class 0's score is the pixels' sum with weights 1 to 12, in units of 1/1000.
  std::vector<float> weights(26);
  for (int i = 0; i < 12; ++i) weights[2 * i] = static_cast<float>(i + 1) / 1000;
  const auto probability = [&](bool training, const v1::Augmentation& augmentation) {
    const auto plan =
        *Plan::Compile(*graph, {.training = training, .images = 1, .augmentation = augmentation});
    std::vector<float> packed(plan->packed_size()), derived(plan->derived_size() + 1);
    std::vector<float> gradient(plan->packed_size());
    EXPECT_TRUE(plan->Pack(weights, packed.data()).ok());
    for (int part = 0; training && part < plan->derive_parts(); ++part) {
      EXPECT_TRUE(plan->Derive(part, packed.data(), derived.data()).ok());
    }
    const auto workspace = *plan->NewWorkspace(packed.data(), derived.data(), [] { return true; });
    std::array<float, 2> probabilities{};
    MicroBatch batch;
    batch.images = &images;
    const uint32_t sample = 8;
    batch.samples = {&sample, 1};
    batch.seed = 1;
    batch.epoch = 1;
    batch.gradient = gradient.data();
    batch.probabilities = probabilities.data();
    EXPECT_TRUE(plan->RunPhase(0, *workspace, batch, [] { return true; }).ok());
    return probabilities[0];
  };
  const v1::Augmentation both = Augmentation(true, 1);
  // The sum of i * i for 1 to 12 is 650; of the image moved and mirrored (above),
  // 6*4 + 7*3 + 8*2 + 10*8 + 11*7 + 12*6 = 290.
  const float whole = 1 / (1 + std::exp(-0.650f)), varied = 1 / (1 + std::exp(-0.290f));
  EXPECT_NEAR(probability(true, {}), whole, 1e-6);
  EXPECT_NEAR(probability(false, {}), whole, 1e-6);
  EXPECT_NEAR(probability(true, both), varied, 1e-6);
  EXPECT_NEAR(probability(false, both), whole, 1e-6);
}

TEST(PixelGather, APlanRefusesWhatWouldMoveAllOut) {
  const auto graph = SmallGraph();
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto plan =
      Plan::Compile(*graph, {.training = true, .augmentation = Augmentation(false, 3)});
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(plan.status().message()),
              HasSubstr("augmentation.shift: got 3; want 0 to 2"));
}

}  // namespace
}  // namespace convd
