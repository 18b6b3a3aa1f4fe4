// A run that diverges ends as DATA_LOSS with the epoch and the step, wherever it shows: in the
// loss, in the weights after the last step, or in a validation.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "core/exec/executor.h"
#include "core/time/clock.h"
#include "core/train/trainer.h"
#include "tests/core/train/training_vectors.h"

namespace convd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

v1::Network OneDenseLayer() {
  v1::Network network;
  network.set_name("one-dense");
  network.mutable_input()->set_height(2);
  network.mutable_input()->set_width(2);
  network.mutable_input()->set_channels(1);
  network.add_layers()->mutable_flatten();
  network.add_layers()->mutable_dense()->set_units(2);
  return network;
}

class DivergenceTest : public ::testing::Test {
 protected:
  DivergenceTest() {
    request_.set_model("m");
    request_.set_batch_size(2);
    request_.set_epochs(1);
  }

  // One sample a pixel value (divided by 255 in the network), all four of its pixels alike; the
  // labels beside them.
  absl::Status Train(const std::vector<float>& values, const std::vector<int32_t>& labels,
                     bool validate = false) {
    std::vector<float> pixels;
    for (float value : values) pixels.insert(pixels.end(), 4, value);
    TrainingData data;
    data.train.count = static_cast<int64_t>(values.size());
    data.train.height = data.train.width = 2;
    data.train.channels = 1;
    data.train.type = ElementType::kFloat32;
    data.train.pixels = pixels.data();
    data.train.labels = labels;
    if (validate) data.validation = data.train;
    data.labels = {"cat", "dog"};
    EXPECT_TRUE(ResolveTraining(request_).ok());
    auto trainer = Trainer::Create(*Graph::Create(OneDenseLayer()), request_, std::move(data),
                                   *executor_, Clock::Real());
    EXPECT_TRUE(trainer.ok()) << trainer.status();
    if (!trainer.ok()) return trainer.status();
    return (*trainer)->Run(observer_);
  }
  void SetSgd(double learning_rate) {
    request_.mutable_optimizer()->mutable_sgd()->set_learning_rate(learning_rate);
  }

  const std::unique_ptr<Executor> executor_ = NewThreadedExecutor(1);
  RecordingObserver observer_;
  v1::TrainRequest request_;
};

void ExpectDiverged(const absl::Status& status, const std::string& words) {
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(words), HasSubstr("learning rate")));
}

// Two samples of 1000 and both labels: a class's weights get half of that as their gradient.
const std::vector<float> kThousands = {255'000, 255'000};

// Weights of 5e37, and their sum over inputs of 1000 is beyond what a float holds.
TEST_F(DivergenceTest, ShowsInTheLossOfTheNextStep) {
  request_.set_epochs(2);
  SetSgd(1e35);
  ExpectDiverged(Train(kThousands, {0, 1}), "epoch 2, step 1");
  EXPECT_EQ(observer_.epochs().size(), 1u);
}

TEST_F(DivergenceTest, ShowsInTheWeightsAfterTheOnlyStep) {
  SetSgd(1e37);
  ExpectDiverged(Train(kThousands, {0, 1}), "epoch 1, step 1");
  EXPECT_TRUE(observer_.epochs().empty()) << "an epoch that broke is none";
}

// Black images move the biases alone; they speak for class 1 when the last image is one of class 0.
TEST_F(DivergenceTest, ShowsInTheWeightsAfterTheLastOfManySteps) {
  request_.set_batch_size(1);
  request_.set_epochs(2);
  request_.set_shuffle(false);
  SetSgd(1e32);
  EXPECT_TRUE(Train({0, 0, 0}, {1, 1, 1}).ok());
  ExpectDiverged(Train({0, 0, 255e7}, {1, 1, 0}), "epoch 1, step 3");
}

// The square of such a gradient is infinite: the weight it belongs to would never move again.
TEST_F(DivergenceTest, ShowsInAdamsSecondMoment) {
  request_.mutable_optimizer()->mutable_adam()->set_learning_rate(0.001);
  ExpectDiverged(Train({1e30f, 1e30f}, {0, 1}), "epoch 1, step 1");
}

TEST_F(DivergenceTest, ShowsInTheValidationAfterTheLastStep) {
  SetSgd(1e35);
  ExpectDiverged(Train(kThousands, {0, 1}, /*validate=*/true), "epoch 1");
  EXPECT_TRUE(observer_.epochs().empty());
}

}  // namespace
}  // namespace convd
