// When a run ends early and what it publishes then, worked out by hand from Keras's rule
// (keras/src/callbacks/early_stopping.py): wait += 1 each epoch; where the epoch is better by more
// than min_delta, wait = 0, else it stops if wait >= patience and it isn't the first epoch.

#include "core/train/early_stopping.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/exec/executor.h"
#include "core/nn/network_text.h"
#include "core/time/clock.h"
#include "core/train/trainer.h"
#include "tests/core/train/training_vectors.h"

namespace convd {
namespace {

struct Case {
  const char* name;
  v1::EarlyStopping::Monitor monitor;
  int64_t patience;
  double min_delta;
  std::vector<double> monitored;
  int64_t ends;  // after so many epochs; 0: not within these
  int64_t best;  // by then, or by the last
};

TEST(EarlyStopping, EndsWhereKerasDoes) {
  using Stopping = v1::EarlyStopping;
  for (const Case& c : std::initializer_list<Case>{
           {"falls", Stopping::LOSS, 0, 0, {4, 3, 2, 1}, 0, 4},
           {"patience 0", Stopping::LOSS, 0, 0, {4, 3, 3.5, 1}, 3, 2},
           // Equal is not better; wait is 1 at the first that isn't, so 1 is as 0.
           {"patience 1", Stopping::LOSS, 1, 0, {4, 3, 3, 1}, 3, 2},
           {"patience 2", Stopping::LOSS, 2, 0, {4, 3, 3, 1}, 0, 4},
           // Waits 1, then 0 at the 2.5, then 1, 2.
           {"begins anew", Stopping::VAL_LOSS, 2, 0, {4, 3, 3.5, 2.5, 2.6, 2.7, 0}, 6, 4},
           // Each is better than the one before by 0.25, than the best by no more than that, until
           // 3.25 is better than 4 by 0.75.
           {"min_delta", Stopping::LOSS, 3, 0.5, {4, 3.75, 3.5, 3.25, 3}, 0, 4},
           {"min_delta, not more", Stopping::LOSS, 1, 0.5, {4, 3.5, 1}, 2, 1},
           {"accuracy", Stopping::ACCURACY, 2, 0, {0.5, 0.75, 0.7, 0.75, 1}, 4, 2},
           {"val_accuracy", Stopping::VAL_ACCURACY, 1, 0.125, {0.25, 0.5, 0.625}, 3, 2},
           // The first never ends it, and is the best there is though no better than infinity; a
           // second that is, is.
           {"better than infinity", Stopping::LOSS, 0, 1.7e308, {1e308, 1}, 0, 2},
           {"no better than infinity", Stopping::LOSS, 0, 1.7e308, {1e308, 1e308}, 2, 1},
       }) {
    SCOPED_TRACE(c.name);
    v1::EarlyStopping options;
    options.set_monitor(c.monitor);
    options.set_patience(c.patience);
    options.set_min_delta(c.min_delta);
    EarlyStopping stopping(options);
    EXPECT_EQ(stopping.best_epoch(), 0);
    int64_t epoch = 0;
    for (const double monitored : c.monitored) {
      v1::EpochRecord record;
      record.set_epoch(++epoch);
      // What isn't monitored says the opposite.
      record.set_loss(c.monitor == Stopping::LOSS ? monitored : -monitored);
      record.set_val_loss(c.monitor == Stopping::VAL_LOSS ? monitored : -monitored);
      record.set_accuracy(c.monitor == Stopping::ACCURACY ? monitored : -monitored);
      record.set_val_accuracy(c.monitor == Stopping::VAL_ACCURACY ? monitored : -monitored);
      const bool best = stopping.Add(record);
      EXPECT_EQ(best, stopping.best_epoch() == epoch);
      if (stopping.stops()) break;
    }
    EXPECT_EQ(stopping.stops() ? epoch : 0, c.ends);
    EXPECT_EQ(stopping.best_epoch(), c.best);
  }
}

// Validated on the opposite of what it learns: each epoch is better in training, and worse in
// validation than the one before.
class EarlyStoppingRunTest : public ::testing::Test {
 protected:
  EarlyStoppingRunTest() {
    request_.set_model("m");
    request_.set_batch_size(2);
    request_.set_epochs(6);
    request_.mutable_optimizer()->mutable_sgd()->set_learning_rate(0.1);
  }

  std::unique_ptr<Trainer> Run(bool validates = true) {
    EXPECT_TRUE(ResolveTraining(request_).ok());
    TrainingData data;
    data.train.count = 6;
    data.train.height = data.train.width = 2;
    data.train.channels = 1;
    data.train.pixels = pixels_.data();
    data.train.labels = labels_;
    if (validates) {
      data.validation = data.train;
      data.validation.labels = opposite_;
    }
    data.labels = {"cat", "dog"};
    auto trainer = Trainer::Create(
        *Graph::Create(*ParseNetwork(
            "name: 'n' input { height: 2 width: 2 channels: 1 } layers { flatten {} } "
            "layers { dense { units: 2 } }",
            "n")),
        request_, std::move(data), *executor_, Clock::Real());
    EXPECT_TRUE(trainer.ok()) << trainer.status();
    RecordingObserver observer;
    EXPECT_TRUE((*trainer)->Run(observer).ok());
    EXPECT_TRUE((*trainer)->PrepareServing(observer).ok());
    EXPECT_EQ(observer.epochs().size(), (*trainer)->history().size());
    return *std::move(trainer);
  }
  // Of a run of so many epochs and no early stopping.
  std::unique_ptr<Trainer> RunOf(int64_t epochs) {
    const v1::TrainRequest request = request_;
    request_.set_epochs(epochs);
    request_.clear_early_stopping();
    std::unique_ptr<Trainer> trainer = Run();
    request_ = request;
    return trainer;
  }
  static void ExpectSame(const Trainer& a, const Trainer& b) {
    EXPECT_EQ(a.parameters(), b.parameters());
    EXPECT_EQ(a.validation().SerializeAsString(), b.validation().SerializeAsString());
    EXPECT_EQ(a.quantization().SerializeAsString(), b.quantization().SerializeAsString());
    ASSERT_EQ(a.served().size(), b.served().size());
    for (size_t i = 0; i < a.served().size(); ++i)
      EXPECT_EQ(a.served()[i].SerializeAsString(), b.served()[i].SerializeAsString());
  }

  // 255 is 1 to the network.
  const std::vector<uint8_t> pixels_ = {255, 255, 0, 0,   0,   0,   255, 255, 255, 0, 0,   0,
                                        0,   0,   0, 255, 255, 255, 0,   0,   0,   0, 255, 255};
  const std::vector<int32_t> labels_ = {0, 1, 0, 1, 0, 1}, opposite_ = {1, 0, 1, 0, 1, 0};
  v1::TrainRequest request_;
  const std::unique_ptr<HandCrankedExecutor> executor_ = NewHandCrankedExecutor(1);
};

TEST_F(EarlyStoppingRunTest, EndsAndPublishesTheLastEpoch) {
  request_.mutable_early_stopping()->set_patience(2);
  const std::unique_ptr<Trainer> trainer = Run();
  ASSERT_EQ(trainer->history().size(), 3u);
  EXPECT_LT(trainer->history()[0].val_loss(), trainer->history()[1].val_loss());
  ExpectSame(*trainer, *RunOf(3));
}

TEST_F(EarlyStoppingRunTest, PublishesTheBestEpochWhereAsked) {
  for (const v1::Precision serving : {v1::PRECISION_F32, v1::PRECISION_INT8}) {
    request_.set_serving_precision(serving);
    if (absl::IsFailedPrecondition(ResolveTraining(request_))) continue;
    request_.mutable_early_stopping()->set_patience(2);
    request_.mutable_early_stopping()->set_restore_best(true);
    const std::unique_ptr<Trainer> trainer = Run();
    ASSERT_EQ(trainer->history().size(), 3u);
    ExpectSame(*trainer, *RunOf(1));
    EXPECT_NE(trainer->parameters(), RunOf(3)->parameters());
  }
}

// As Keras does.
TEST_F(EarlyStoppingRunTest, PublishesTheBestEpochOfARunThatGoesToItsEnd) {
  request_.mutable_early_stopping()->set_patience(100);
  request_.mutable_early_stopping()->set_restore_best(true);
  const std::unique_ptr<Trainer> trainer = Run();
  ASSERT_EQ(trainer->history().size(), 6u);
  ExpectSame(*trainer, *RunOf(1));
}

TEST_F(EarlyStoppingRunTest, MonitorsTheLossWhereNothingIsValidated) {
  request_.mutable_early_stopping()->set_restore_best(true);
  EXPECT_EQ(Run(/*validates=*/false)->history().size(), 6u);
  request_.mutable_early_stopping()->set_monitor(v1::EarlyStopping::LOSS);
  const std::unique_ptr<Trainer> trainer = Run();
  EXPECT_EQ(trainer->history().size(), 6u);
  ExpectSame(*trainer, *RunOf(6));
}

}  // namespace
}  // namespace convd
