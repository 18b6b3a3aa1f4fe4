// What a trainer varies, and what it doesn't: training samples, each anew in every epoch, and
// nothing else.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/dnn/calibration.h"
#include "core/dnn/gather.h"
#include "core/dnn/inference_model.h"
#include "core/eval/evaluate.h"
#include "core/exec/executor.h"
#include "core/nn/network_text.h"
#include "core/time/clock.h"
#include "core/train/trainer.h"
#include "tests/core/train/training_vectors.h"

namespace convd {
namespace {

using ::testing::HasSubstr;

constexpr int kImages = 60, kHeight = 6, kWidth = 7, kChannels = 2;
constexpr int64_t kElements = int64_t{kHeight} * kWidth * kChannels;

class AugmentationTest : public ::testing::Test {
 protected:
  AugmentationTest()
      : graph_(*Graph::Create(
            *ParseNetwork("name: 'n' input { height: 6 width: 7 channels: 2 } "
                          "layers { conv { filters: 4 kernel: 3 activation: ACTIVATION_RELU } } "
                          "layers { flatten {} } layers { dense { units: 2 } }",
                          "n"))) {
    for (int i = 0; i < kImages * kElements; ++i)
      pixels_.push_back(static_cast<uint8_t>(i * 37 % 251));
    for (int i = 0; i < kImages; ++i) labels_.push_back(i % 3 == 0);
    request_.set_model("m");
    request_.set_batch_size(10);
    request_.set_seed(3);
    request_.mutable_augmentation()->set_horizontal_flip(true);
    request_.mutable_augmentation()->set_shift(2);
  }

  TrainingData Data(const std::vector<uint8_t>& pixels) {
    TrainingData data;
    data.train.count = kImages;
    data.train.height = kHeight;
    data.train.width = kWidth;
    data.train.channels = kChannels;
    data.train.pixels = pixels.data();
    data.train.labels = labels_;
    data.labels = {"cat", "dog"};
    return data;
  }
  // A trainer that has trained.
  std::unique_ptr<Trainer> Train(const v1::TrainRequest& request, const TrainingData& data) {
    v1::TrainRequest resolved = request;
    EXPECT_TRUE(ResolveTraining(resolved).ok());
    auto trainer = Trainer::Create(graph_, resolved, data, *executor_, Clock::Real());
    EXPECT_TRUE(trainer.ok()) << trainer.status();
    if (!trainer.ok()) return nullptr;
    EXPECT_TRUE((*trainer)->Run(observer_).ok());
    return *std::move(trainer);
  }
  static bool Never() { return false; }

  const Graph graph_;
  std::vector<uint8_t> pixels_;
  std::vector<int32_t> labels_;
  v1::TrainRequest request_;
  RecordingObserver observer_;
  const std::unique_ptr<Executor> executor_ = NewThreadedExecutor(2);
};

TEST_F(AugmentationTest, TrainsOnSamplesThatAreMovedAndMirrored) {
  // What the first epoch is to see, pixel by pixel.
  std::vector<uint8_t> varied(pixels_.size());
  for (uint32_t sample = 0; sample < kImages; ++sample) {
    const auto [down, right, flip] = DrawMotion(request_.augmentation(), 3, 1, sample);
    for (int y = 0; y < kHeight; ++y) {
      for (int x = 0; x < kWidth; ++x) {
        const int from_y = y - down, from_x = (flip ? kWidth - 1 - x : x) - right;
        if (from_y < 0 || from_y >= kHeight || from_x < 0 || from_x >= kWidth) continue;
        for (int c = 0; c < kChannels; ++c) {
          varied[sample * kElements + (y * kWidth + x) * kChannels + c] =
              pixels_[sample * kElements + (from_y * kWidth + from_x) * kChannels + c];
        }
      }
    }
  }
  v1::TrainRequest plain = request_;
  plain.clear_augmentation();
  const auto augmented = Train(request_, Data(pixels_));
  const auto expected = Train(plain, Data(varied));
  const auto unvaried = Train(plain, Data(pixels_));
  ASSERT_TRUE(augmented && expected && unvaried);
  EXPECT_EQ(augmented->parameters(), expected->parameters());
  EXPECT_NE(augmented->parameters(), unvaried->parameters());
}

TEST_F(AugmentationTest, VariesASampleAnewInEveryEpoch) {
  // All epochs see the same samples in the same order with weights that hardly move.
  request_.set_epochs(3);
  request_.set_shuffle(false);
  request_.mutable_optimizer()->mutable_sgd()->set_learning_rate(1e-30);
  const auto augmented = Train(request_, Data(pixels_));
  ASSERT_TRUE(augmented);
  EXPECT_NE(augmented->history()[0].loss(), augmented->history()[1].loss());
  EXPECT_NE(augmented->history()[1].loss(), augmented->history()[2].loss());
  request_.clear_augmentation();
  const auto plain = Train(request_, Data(pixels_));
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->history()[0].loss(), plain->history()[1].loss());
}

TEST_F(AugmentationTest, ValidatesAndCalibratesOnImagesAsTheyAre) {
  request_.set_epochs(2);
  TrainingData data = Data(pixels_);
  data.validation = data.train.Slice(kImages - 20, 20);
  const auto trainer = Train(request_, data);
  ASSERT_TRUE(trainer);
  const auto model = CompileInferenceModel(graph_, trainer->parameters());
  ASSERT_TRUE(model.ok()) << model.status();
  const auto metrics =
      Evaluate(**model, data.validation, data.labels, *executor_, Lane::kTrain, Never);
  ASSERT_TRUE(metrics.ok()) << metrics.status();
  EXPECT_EQ(trainer->history().back().val_loss(), metrics->loss());
  EXPECT_EQ(trainer->validation().SerializeAsString(), metrics->SerializeAsString());

  ASSERT_TRUE(trainer->PrepareServing(observer_).ok());
  const auto calibrated =
      Calibrate(graph_, trainer->parameters(), data.train, *executor_, Lane::kTrain, Never);
  ASSERT_TRUE(calibrated.ok()) << calibrated.status();
  EXPECT_EQ(trainer->quantization().SerializeAsString(), calibrated->SerializeAsString());
}

TEST_F(AugmentationTest, RefusesToMoveSamplesAllTheWayOut) {
  request_.mutable_augmentation()->set_shift(kHeight);
  ASSERT_TRUE(ResolveTraining(request_).ok());
  const auto trainer = Trainer::Create(graph_, request_, Data(pixels_), *executor_, Clock::Real());
  EXPECT_EQ(trainer.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(trainer.status().message()),
              HasSubstr("augmentation.shift: got 6; want 0 to 5"));
}

}  // namespace
}  // namespace convd
