#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/types/span.h"
#include "core/dnn/inference_model.h"
#include "core/dnn/precision.h"
#include "core/exec/executor.h"
#include "core/nn/initial_parameters.h"
#include "core/time/clock.h"
#include "core/train/trainer.h"
#include "tests/core/train/training_vectors.h"

// What a training job produces depends on its request alone: not on how many workers there are, nor
// on what else they do.

namespace convd {
namespace {

struct Outcome {
  std::vector<float> parameters;
  std::vector<double> losses;      // running mean after each step
  std::vector<double> validation;  // loss and accuracy an epoch
};

Outcome RunTraining(const TrainingVectors& vectors, Executor& executor) {
  v1::TrainRequest request = vectors.request;
  request.set_epochs(2);
  const absl::Status resolved = ResolveTraining(request);
  EXPECT_TRUE(resolved.ok()) << resolved;
  TrainingData data = AsTrainingData(vectors.images, vectors.graph.classes());
  data.validation = data.train.Slice(0, data.train.count / 3);
  auto trainer = Trainer::Create(vectors.graph, request, data, executor, Clock::Real());
  EXPECT_TRUE(trainer.ok()) << trainer.status();
  Outcome outcome;
  if (!trainer.ok()) return outcome;
  RecordingObserver observer;
  const absl::Status run = (*trainer)->Run(observer);
  EXPECT_TRUE(run.ok()) << run;
  outcome.parameters = (*trainer)->parameters();
  for (const TrainingProgress& p : observer.progress()) {
    if (!p.validating) outcome.losses.push_back(p.loss);
  }
  for (const v1::EpochRecord& record : (*trainer)->history()) {
    outcome.validation.push_back(record.val_loss());
    outcome.validation.push_back(record.val_accuracy());
  }
  return outcome;
}

void ExpectSameBits(const Outcome& a, const Outcome& b) {
  ASSERT_EQ(a.parameters.size(), b.parameters.size());
  ASSERT_FALSE(a.parameters.empty());
  EXPECT_EQ(
      std::memcmp(a.parameters.data(), b.parameters.data(), a.parameters.size() * sizeof(float)),
      0);
  EXPECT_EQ(a.losses, b.losses);
  EXPECT_EQ(a.validation, b.validation);
}

// Keeps an executor's predict lane busy until destroyed: each of its threads has one prediction
// waiting or running at any time. One thread fewer than there are workers (but one at least), since
// a lane that never empties would rightly starve the lanes below it.
class PredictLoad {
 public:
  PredictLoad(const TrainingVectors& vectors, Executor& executor)
      : images_(vectors.images.Slice(0, 5)), executor_(executor) {
    auto model = CompileInferenceModel(vectors.graph,
                                       InitialParameters(vectors.graph, vectors.request.seed()));
    EXPECT_TRUE(model.ok()) << model.status();
    if (!model.ok()) return;
    model_ = *std::move(model);
    for (int i = 0; i < std::max(1, executor.workers() - 1); ++i) {
      threads_.emplace_back([this] { Predict(); });
    }
  }

  ~PredictLoad() {
    stopping_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

  // Blocks until more than `count` predictions are answered; how many then are.
  int64_t AwaitMoreThan(int64_t count) {
    absl::MutexLock lock(&mutex_);
    while (answered_ <= count && !threads_.empty()) answered_more_.Wait(&mutex_);
    return answered_;
  }

  int64_t answered() {
    absl::MutexLock lock(&mutex_);
    return answered_;
  }

 private:
  void Predict() {
    std::vector<float> probabilities(images_.count * model_->graph().classes());
    while (!stopping_) {
      absl::Notification done;
      absl::Status status;
      executor_.Submit(Lane::kPredict, [&] {
        status =
            model_->Infer(images_, absl::MakeSpan(probabilities), executor_, [] { return false; });
        done.Notify();
      });
      done.WaitForNotification();
      EXPECT_TRUE(status.ok()) << status;
      absl::MutexLock lock(&mutex_);
      ++answered_;
      answered_more_.SignalAll();
    }
  }

  const ImageSet images_;
  Executor& executor_;
  std::shared_ptr<const InferenceModel> model_;
  std::atomic<bool> stopping_ = false;
  absl::Mutex mutex_;
  absl::CondVar answered_more_;
  int64_t answered_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::thread> threads_;
};

struct Case {
  const char* vectors;
  v1::Precision precision;
  bool augments = false;
};

class DeterminismTest : public ::testing::TestWithParam<Case> {
 protected:
  DeterminismTest() : vectors_(ReadTrainingVectors(GetParam().vectors)) {
    vectors_.request.set_precision(GetParam().precision);
    if (GetParam().augments) {
      vectors_.request.mutable_augmentation()->set_horizontal_flip(true);
      vectors_.request.mutable_augmentation()->set_shift(2);
    }
  }

  void SetUp() override {
    const absl::Status has = CheckPrecision("precision", GetParam().precision);
    if (!has.ok()) GTEST_SKIP() << has.message();
  }

  Outcome RunOn(int workers) {
    const std::unique_ptr<Executor> executor = NewThreadedExecutor(workers);
    return RunTraining(vectors_, *executor);
  }

  TrainingVectors vectors_;
};

TEST_P(DeterminismTest, GivesTheSameBitsOnAnyNumberOfWorkers) {
  const Outcome one = RunOn(1);
  for (int workers : {1, 2, 3, 4}) {
    SCOPED_TRACE(workers);
    ExpectSameBits(RunOn(workers), one);
  }
}

TEST_P(DeterminismTest, GivesTheSameBitsWithoutThreads) {
  const std::unique_ptr<HandCrankedExecutor> executor = NewHandCrankedExecutor(2);
  ExpectSameBits(RunTraining(vectors_, *executor), RunOn(2));
}

TEST_P(DeterminismTest, GivesTheSameBitsWhilePredictionsKeepTheWorkersBusy) {
  const Outcome idle = RunOn(2);
  for (int workers : {1, 2, 3}) {
    SCOPED_TRACE(workers);
    const std::unique_ptr<Executor> executor = NewThreadedExecutor(workers);
    PredictLoad load(vectors_, *executor);
    const int64_t before = load.AwaitMoreThan(0);
    ExpectSameBits(RunTraining(vectors_, *executor), idle);
    EXPECT_GT(load.answered(), before) << "no prediction ran beside the training";
  }
}

// oneDNN's build runs on OpenMP, which would start a team of its own beside the workers.
TEST_P(DeterminismTest, NoThreadsButTheWorkersTakePart) {
  class CountsThreads : public RecordingObserver {
   public:
    void OnProgress(const TrainingProgress&) override { most = std::max(most, Threads()); }
    static int64_t Threads() {
      const std::filesystem::directory_iterator tasks("/proc/self/task");
      return std::distance(begin(tasks), end(tasks));
    }
    int64_t most = 0;
  };
  const int64_t before = CountsThreads::Threads();
  const std::unique_ptr<Executor> executor = NewThreadedExecutor(2);
  TrainingData data = AsTrainingData(vectors_.images, vectors_.graph.classes());
  data.validation = data.train;
  auto trainer = Trainer::Create(vectors_.graph, vectors_.request, data, *executor, Clock::Real());
  ASSERT_TRUE(trainer.ok()) << trainer.status();
  CountsThreads observer;
  ASSERT_TRUE((*trainer)->Run(observer).ok());
  EXPECT_EQ(observer.most, before + 2);
}

// Else the two precisions would be one.
TEST_P(DeterminismTest, Bf16GivesOtherBitsThanF32) {
  if (GetParam().precision == v1::PRECISION_F32) GTEST_SKIP() << "of the cases in bf16";
  TrainingVectors f32 = vectors_;
  f32.request.set_precision(v1::PRECISION_F32);
  const std::unique_ptr<Executor> executor = NewThreadedExecutor(1);
  EXPECT_NE(RunTraining(f32, *executor).parameters, RunOn(1).parameters);
}

TEST_P(DeterminismTest, AugmentationGivesOtherBits) {
  if (!GetParam().augments) GTEST_SKIP() << "of the cases that augment";
  const std::vector<float> varied = RunOn(1).parameters;
  TrainingVectors other = vectors_;
  const std::unique_ptr<Executor> executor = NewThreadedExecutor(1);
  other.request.mutable_augmentation()->set_horizontal_flip(false);
  EXPECT_NE(RunTraining(other, *executor).parameters, varied);
  other.request.clear_augmentation();
  EXPECT_NE(RunTraining(other, *executor).parameters, varied);
}

TEST_P(DeterminismTest, AnotherSeedGivesOtherBits) {
  TrainingVectors other = vectors_;
  other.request.set_seed(other.request.seed() + 1);
  const std::unique_ptr<Executor> executor = NewThreadedExecutor(1);
  EXPECT_NE(RunTraining(other, *executor).parameters, RunOn(1).parameters);
}

std::string CaseName(const ::testing::TestParamInfo<Case>& info) {
  return std::string(info.param.vectors) +
         (info.param.precision == v1::PRECISION_BF16 ? "_bf16" : "") +
         (info.param.augments ? "_augmented" : "");
}

INSTANTIATE_TEST_SUITE_P(Networks, DeterminismTest,
                         ::testing::Values(Case{"keras_mnist", v1::PRECISION_F32},
                                           Case{"lenet5", v1::PRECISION_F32},
                                           Case{"layer_kinds", v1::PRECISION_F32},
                                           Case{"keras_mnist", v1::PRECISION_F32, true},
                                           Case{"layer_kinds", v1::PRECISION_F32, true},
                                           Case{"keras_mnist", v1::PRECISION_BF16},
                                           Case{"lenet5", v1::PRECISION_BF16},
                                           Case{"layer_kinds", v1::PRECISION_BF16}),
                         CaseName);

}  // namespace
}  // namespace convd
