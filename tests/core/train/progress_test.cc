// What a running job says of itself: where it is, how fast, and how long it will take.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "core/exec/executor.h"
#include "core/nn/network_text.h"
#include "core/train/trainer.h"
#include "tests/core/time/hand_clock.h"
#include "tests/core/train/training_vectors.h"

namespace convd {
namespace {

using ::testing::ElementsAre;

// Each report takes a second; nothing else takes any time.
class SecondAReport : public RecordingObserver {
 public:
  explicit SecondAReport(HandClock& clock) : clock_(clock) {}
  void OnProgress(const TrainingProgress& progress) override {
    RecordingObserver::OnProgress(progress);
    clock_.Advance(absl::Seconds(1));
  }

 private:
  HandClock& clock_;
};

TEST(TrainingProgress, SaysWhereHowFastAndHowLongStill) {
  const auto network = ParseNetwork(
      "name: 'n' input { height: 2 width: 2 channels: 1 } layers { flatten {} } "
      "layers { dense { units: 2 } }",
      "n");
  ASSERT_TRUE(network.ok()) << network.status();
  const std::vector<uint8_t> pixels(6 * 4, 7);
  const std::vector<int32_t> labels = {0, 1, 0, 1, 0, 1};
  TrainingData data;
  data.train.count = 6;
  data.train.height = data.train.width = 2;
  data.train.channels = 1;
  data.train.pixels = pixels.data();
  data.train.labels = labels;
  data.labels = {"cat", "dog"};
  v1::TrainRequest request;
  request.set_model("m");
  request.set_batch_size(2);
  request.set_epochs(2);
  ASSERT_TRUE(ResolveTraining(request).ok());
  HandClock clock;
  const std::unique_ptr<HandCrankedExecutor> executor = NewHandCrankedExecutor(1);
  auto trainer =
      Trainer::Create(*Graph::Create(*network), request, std::move(data), *executor, clock);
  ASSERT_TRUE(trainer.ok()) << trainer.status();
  SecondAReport observer(clock);
  ASSERT_TRUE((*trainer)->Run(observer).ok());

  std::vector<int64_t> epochs, steps;
  std::vector<double> rates, left;
  for (const TrainingProgress& p : observer.progress()) {
    EXPECT_EQ(p.epochs, 2);
    EXPECT_EQ(p.steps, 3);
    epochs.push_back(p.epoch);
    steps.push_back(p.step);
    rates.push_back(p.images_per_second);
    left.push_back(p.seconds_left);
  }
  EXPECT_THAT(epochs, ElementsAre(1, 1, 1, 2, 2, 2));
  EXPECT_THAT(steps, ElementsAre(1, 2, 3, 1, 2, 3));
  // 4 images after a second, 6 after two; nothing is known before any time has passed.
  EXPECT_THAT(rates, ElementsAre(0, 4, 3, 0, 4, 3));
  // In the first epoch from its own rate: 6 images at 4 a second make 1.5 s an epoch, of two of
  // which one second is over; then 2 s an epoch. It took three, and so will the second.
  EXPECT_THAT(left, ElementsAre(0, 2, 2, 3, 2, 1));
  ASSERT_EQ((*trainer)->history().size(), 2u);
  EXPECT_EQ((*trainer)->history()[0].seconds(), 3);
  EXPECT_EQ((*trainer)->history()[0].images_per_second(), 2);
}

}  // namespace
}  // namespace convd
