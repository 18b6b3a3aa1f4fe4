// Training that begins with given weights.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/exec/executor.h"
#include "core/nn/initial_parameters.h"
#include "core/nn/network_text.h"
#include "core/time/clock.h"
#include "core/train/trainer.h"
#include "tests/core/train/training_vectors.h"

namespace convd {
namespace {

using ::testing::HasSubstr;

class InitialWeightsTest : public ::testing::Test {
 protected:
  InitialWeightsTest() {
    for (int i = 0; i < 7 * 4; ++i) pixels_.push_back(static_cast<uint8_t>(i * 37 % 251));
    request_.set_model("m");
    request_.set_batch_size(3);
    request_.set_shuffle(false);
    request_.mutable_optimizer()->mutable_sgd()->set_learning_rate(0.1);
    EXPECT_TRUE(ResolveTraining(request_).ok());
  }

  absl::StatusOr<std::unique_ptr<Trainer>> Create(absl::Span<const float> initial) {
    TrainingData data;
    data.train.count = 7;
    data.train.height = data.train.width = 2;
    data.train.channels = 1;
    data.train.pixels = pixels_.data();
    data.train.labels = labels_;
    data.labels = {"cat", "dog"};
    return Trainer::Create(graph_, request_, std::move(data), *executor_, Clock::Real(), initial);
  }
  std::vector<float> Train(int64_t epochs, absl::Span<const float> initial = {}) {
    request_.set_epochs(epochs);
    auto trainer = Create(initial);
    EXPECT_TRUE(trainer.ok()) << trainer.status();
    RecordingObserver observer;
    EXPECT_TRUE((*trainer)->Run(observer).ok());
    return (*trainer)->parameters();
  }

  const Graph graph_ = *Graph::Create(*ParseNetwork(
      "name: 'n' input { height: 2 width: 2 channels: 1 } layers { flatten {} } "
      "layers { dense { units: 3 activation: ACTIVATION_TANH } } layers { dense { units: 2 } }",
      "n"));
  std::vector<uint8_t> pixels_;
  const std::vector<int32_t> labels_ = {0, 1, 0, 1, 1, 0, 1};
  v1::TrainRequest request_;
  const std::unique_ptr<HandCrankedExecutor> executor_ = NewHandCrankedExecutor(1);
};

// SGD without momentum keeps nothing but weights from epoch to epoch, and unshuffled all are alike.
TEST_F(InitialWeightsTest, AnEpochFromWhereAnotherEndedIsTheSecondOfTwo) {
  const std::vector<float> one = Train(1), two = Train(2);
  EXPECT_NE(one, two);
  EXPECT_EQ(Train(1, one), two);
}

TEST_F(InitialWeightsTest, AreThoseOfTheSeedWhereNoneAreGiven) {
  EXPECT_EQ(Train(1, InitialParameters(graph_, request_.seed())), Train(1));
  EXPECT_NE(Train(1, InitialParameters(graph_, request_.seed() + 1)), Train(1));
  const std::vector<float> given(graph_.parameter_count(), 0.25f);
  EXPECT_EQ((*Create(given))->parameters(), given);
}

TEST_F(InitialWeightsTest, FitTheNetworkAndAreFinite) {
  // 4 x 3 + 3 + 3 x 2 + 2.
  for (const size_t size : {1, 22, 24}) {
    const absl::Status status = Create(std::vector<float>(size)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(std::string(status.message()),
              "initial weights: got " + std::to_string(size) + "; network n has 23");
  }
  std::vector<float> weights(23);
  weights[22] = std::numeric_limits<float>::infinity();
  const absl::Status status = Create(weights).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("[22] is inf; want finite values"));
}

}  // namespace
}  // namespace convd
