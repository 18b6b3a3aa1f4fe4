// What a trainer makes for serving: figures at each precision that the CPU has, and what int8
// needs.

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "core/dnn/calibration.h"
#include "core/dnn/inference_model.h"
#include "core/dnn/precision.h"
#include "core/eval/evaluate.h"
#include "core/exec/executor.h"
#include "core/nn/network_text.h"
#include "core/time/clock.h"
#include "core/train/trainer.h"
#include "tests/core/train/training_vectors.h"

namespace convd {
namespace {

// Counts the loops that it is given.
class CountingExecutor : public Executor {
 public:
  int workers() const override { return inner_->workers(); }
  void Submit(Lane lane, absl::AnyInvocable<void()> task) override {
    inner_->Submit(lane, std::move(task));
  }
  void ForEachInStages(Lane lane, absl::FunctionRef<int64_t()> next_stage,
                       absl::FunctionRef<void(int64_t)> body) override {
    EXPECT_EQ(lane, Lane::kTrain);
    ++loops;
    if (on_loop) on_loop();
    inner_->ForEachInStages(lane, next_stage, body);
  }
  void Cut() override { inner_->Cut(); }

  int loops = 0;
  std::function<void()> on_loop;

 private:
  const std::unique_ptr<Executor> inner_ = NewThreadedExecutor(1);
};

class CancellableObserver : public RecordingObserver {
 public:
  bool Cancelled() const override { return cancelled; }
  std::atomic<bool> cancelled{false};
};

std::vector<v1::Precision> OfThisCpu() {
  std::vector<v1::Precision> precisions;
  for (const v1::Precision precision :
       {v1::PRECISION_F32, v1::PRECISION_BF16, v1::PRECISION_INT8}) {
    if (CheckPrecision("precision", precision).ok()) precisions.push_back(precision);
  }
  return precisions;
}

class ServingPrecisionTest : public ::testing::Test {
 protected:
  ServingPrecisionTest()
      : graph_(*Graph::Create(
            *ParseNetwork("name: 'n' input { height: 6 width: 6 channels: 1 } "
                          "layers { conv { filters: 4 kernel: 3 activation: ACTIVATION_RELU } } "
                          "layers { flatten {} } layers { dense { units: 2 } }",
                          "n"))) {
    for (int i = 0; i < kImages * 36; ++i) pixels_.push_back(static_cast<uint8_t>(i * 37 % 251));
    for (int i = 0; i < kImages; ++i) labels_.push_back(i % 3 == 0);
    request_.set_model("m");
    request_.set_batch_size(10);
    request_.set_epochs(2);
  }

  void Create(bool validate) {
    ASSERT_TRUE(ResolveTraining(request_).ok());
    data_.train.count = kImages;
    data_.train.height = data_.train.width = 6;
    data_.train.channels = 1;
    data_.train.pixels = pixels_.data();
    data_.train.labels = labels_;
    data_.labels = {"cat", "dog"};
    data_.validation = validate ? data_.train.Slice(kImages - 20, 20) : ImageSet();
    auto trainer = Trainer::Create(graph_, request_, data_, executor_, Clock::Real());
    ASSERT_TRUE(trainer.ok()) << trainer.status();
    trainer_ = *std::move(trainer);
    const absl::Status run = trainer_->Run(observer_);
    ASSERT_TRUE(run.ok()) << run;
  }
  // Loops that a call takes.
  template <typename Call>
  int Loops(Call call) {
    const int before = executor_.loops;
    const absl::Status status = call();
    EXPECT_TRUE(status.ok()) << status;
    return executor_.loops - before;
  }
  static bool Never() { return false; }

  static constexpr int kImages = 60;
  const Graph graph_;
  std::vector<uint8_t> pixels_;
  std::vector<int32_t> labels_;
  TrainingData data_;
  v1::TrainRequest request_;
  CountingExecutor executor_;
  CancellableObserver observer_;
  std::unique_ptr<Trainer> trainer_;
};

TEST_F(ServingPrecisionTest, MeasuresEachPrecisionOfTheCpuOnce) {
  const std::vector<v1::Precision> precisions = OfThisCpu();
  for (const v1::Precision serving : precisions) {
    request_.set_serving_precision(serving);
    ASSERT_NO_FATAL_FAILURE(Create(/*validate=*/true));
    const int loops = Loops([&] { return trainer_->PrepareServing(observer_); });

    ASSERT_EQ(trainer_->served().size(), precisions.size());
    for (size_t i = 0; i < precisions.size(); ++i) {
      const v1::ServedAccuracy& served = trainer_->served()[i];
      EXPECT_EQ(served.precision(), precisions[i]);
      const auto model = CompileInferenceModel(
          graph_, trainer_->parameters(),
          {.precision = precisions[i], .quantization = &trainer_->quantization()});
      ASSERT_TRUE(model.ok()) << model.status();
      const auto metrics =
          Evaluate(**model, data_.validation, data_.labels, executor_, Lane::kTrain, Never);
      ASSERT_TRUE(metrics.ok()) << metrics.status();
      EXPECT_EQ(served.samples(), 20);
      EXPECT_EQ(served.loss(), metrics->loss());
      EXPECT_EQ(served.accuracy(), metrics->accuracy());
      // The epochs were validated at what the version will be served at.
      if (precisions[i] == serving) {
        EXPECT_EQ(trainer_->validation().loss(), metrics->loss());
        EXPECT_EQ(trainer_->history().back().val_loss(), metrics->loss());
      }
    }

    const auto f32 = CompileInferenceModel(graph_, trainer_->parameters());
    const int evaluation = Loops([&] {
      return Evaluate(**f32, data_.validation, data_.labels, executor_, Lane::kTrain, Never)
          .status();
    });
    const int calibration = Loops([&] {
      return Calibrate(graph_, trainer_->parameters(), data_.train, executor_, Lane::kTrain, Never)
          .status();
    });
    EXPECT_GT(evaluation, 0);
    EXPECT_EQ(loops, evaluation * static_cast<int>(precisions.size() - 1) +
                         (serving == v1::PRECISION_INT8 ? 0 : calibration));
  }
}

TEST_F(ServingPrecisionTest, CalibratesTheTrainedWeightsOnAnyCpu) {
  for (const v1::Precision serving : OfThisCpu()) {
    for (const bool validate : {false, true}) {
      request_.set_serving_precision(serving);
      ASSERT_NO_FATAL_FAILURE(Create(validate));
      const absl::Status prepared = trainer_->PrepareServing(observer_);
      ASSERT_TRUE(prepared.ok()) << prepared;
      const auto expected =
          Calibrate(graph_, trainer_->parameters(), data_.train, executor_, Lane::kTrain, Never);
      ASSERT_TRUE(expected.ok()) << expected.status();
      EXPECT_EQ(trainer_->quantization().SerializeAsString(), expected->SerializeAsString());
      EXPECT_EQ(trainer_->quantization().inputs_size(), 2);
      EXPECT_EQ(trainer_->served().empty(), !validate);
    }
  }
}

TEST_F(ServingPrecisionTest, EndsWhereTheObserverAsks) {
  ASSERT_NO_FATAL_FAILURE(Create(/*validate=*/true));
  observer_.cancelled = true;
  EXPECT_EQ(trainer_->PrepareServing(observer_).code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(trainer_->served().empty());
  observer_.cancelled = false;
  const int loops = Loops([&] { return trainer_->PrepareServing(observer_); });
  EXPECT_FALSE(trainer_->served().empty());
  // While each part of it is at work.
  for (int cancelled = 1; cancelled <= loops; ++cancelled) {
    observer_.cancelled = false;
    executor_.on_loop = [&, left = cancelled]() mutable { observer_.cancelled = --left <= 0; };
    EXPECT_EQ(trainer_->PrepareServing(observer_).code(), absl::StatusCode::kCancelled)
        << cancelled << " of " << loops;
  }
}

}  // namespace
}  // namespace convd
