// What a running job says of itself: where it is, how fast, and how long it will take.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
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

class TrainingProgressTest : public ::testing::Test {
 protected:
  TrainingProgressTest() {
    request_.set_model("m");
    request_.set_batch_size(2);
    request_.set_epochs(2);
    EXPECT_TRUE(ResolveTraining(request_).ok());
  }

  // 6 samples, so 3 steps an epoch.
  std::unique_ptr<Trainer> New() {
    const auto network = ParseNetwork(
        "name: 'n' input { height: 2 width: 2 channels: 1 } layers { flatten {} } "
        "layers { dense { units: 2 } }",
        "n");
    EXPECT_TRUE(network.ok()) << network.status();
    TrainingData data;
    data.train.count = 6;
    data.train.height = data.train.width = 2;
    data.train.channels = 1;
    data.train.pixels = pixels_.data();
    data.train.labels = labels_;
    data.labels = {"cat", "dog"};
    auto trainer =
        Trainer::Create(*Graph::Create(*network), request_, std::move(data), *executor_, clock_);
    EXPECT_TRUE(trainer.ok()) << trainer.status();
    return *std::move(trainer);
  }

  const std::vector<uint8_t> pixels_ = std::vector<uint8_t>(6 * 4, 7);
  const std::vector<int32_t> labels_ = {0, 1, 0, 1, 0, 1};
  v1::TrainRequest request_;
  HandClock clock_;
  const std::unique_ptr<HandCrankedExecutor> executor_ = NewHandCrankedExecutor(1);
};

TEST_F(TrainingProgressTest, SaysWhereHowFastAndHowLongStill) {
  const std::unique_ptr<Trainer> trainer = New();
  SecondAReport observer(clock_);
  ASSERT_TRUE(trainer->Run(observer).ok());

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
  ASSERT_EQ(trainer->history().size(), 2u);
  EXPECT_EQ(trainer->history()[0].seconds(), 3);
  EXPECT_EQ(trainer->history()[0].images_per_second(), 2);
}

// Takes an hour for each checkpoint, and is cancelled after the first epoch's second step.
class CancelledAtTheSecondStep : public SecondAReport {
 public:
  explicit CancelledAtTheSecondStep(HandClock& clock) : SecondAReport(clock), clock_(clock) {}
  bool Cancelled() const override { return progress().size() == 2; }
  bool WantsCheckpoint() override { return true; }
  absl::Status OnCheckpoint(const Trainer&) override {
    clock_.Advance(absl::Hours(1));
    return absl::OkStatus();
  }

 private:
  HandClock& clock_;
};

TEST_F(TrainingProgressTest, CountsTheTimeTrainedNotWhatIsBetween) {
  std::string saved;
  {
    const std::unique_ptr<Trainer> trainer = New();
    CancelledAtTheSecondStep observer(clock_);
    ASSERT_TRUE(absl::IsCancelled(trainer->Run(observer)));
    clock_.Advance(absl::Hours(1));
    ASSERT_TRUE(trainer
                    ->Save([&](std::string_view piece) {
                      saved += piece;
                      return absl::OkStatus();
                    })
                    .ok());
  }
  const std::unique_ptr<Trainer> trainer = New();
  ASSERT_TRUE(trainer->Restore(saved).ok());
  clock_.Advance(absl::Hours(1));
  SecondAReport observer(clock_);
  ASSERT_TRUE(trainer->Run(observer).ok());
  std::vector<double> rates, left;
  for (const TrainingProgress& p : observer.progress()) {
    rates.push_back(p.images_per_second);
    left.push_back(p.seconds_left);
  }
  // As of the unbroken run, from its third report on.
  EXPECT_THAT(rates, ElementsAre(3, 0, 4, 3));
  EXPECT_THAT(left, ElementsAre(2, 3, 2, 1));
  ASSERT_EQ(trainer->history().size(), 2u);
  for (const v1::EpochRecord& record : trainer->history()) {
    EXPECT_EQ(record.seconds(), 3);
    EXPECT_EQ(record.images_per_second(), 2);
  }
}

}  // namespace
}  // namespace convd
