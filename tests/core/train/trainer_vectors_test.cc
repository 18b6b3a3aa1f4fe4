#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "core/dnn/inference_model.h"
#include "core/exec/executor.h"
#include "core/nn/initial_parameters.h"
#include "core/time/clock.h"
#include "core/train/trainer.h"
#include "tests/core/train/training_vectors.h"

// The engine's training runs against PyTorch's in double precision (make_vectors.py): forward,
// loss, gradients and every weight after all steps. PyTorch's own single precision differs from
// them by up to 2e-6.

namespace convd {
namespace {

// Adam divides by a gradient's own size: where that is below its epsilon, 1e-6 of the tensor's
// largest gradient, which is Winograd's rounding, moves a weight by a hundredth of the learning
// rate.
constexpr double kTolerance = 2e-4;

// Each tensor within kTolerance of its largest magnitude.
void ExpectTensorsNear(const Graph& graph, const std::vector<double>& got,
                       const std::vector<double>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (const Parameter& parameter : graph.parameters()) {
    double largest = 0, worst = 0;
    for (int64_t i = parameter.offset; i < parameter.offset + parameter.elements; ++i) {
      largest = std::max(largest, std::abs(want[i]));
      const double difference = std::abs(got[i] - want[i]);
      worst = difference <= worst ? worst : difference;  // a NaN is the worst
    }
    EXPECT_GT(largest, 0) << parameter.name;
    EXPECT_LE(worst, kTolerance * largest) << parameter.name << ", largest " << largest;
  }
}

void ExpectProbabilities(const Graph& graph, absl::Span<const float> parameters,
                         const ImageSet& images, const std::vector<double>& want) {
  const std::unique_ptr<Executor> executor = NewThreadedExecutor(1);
  auto model = CompileInferenceModel(graph, parameters);
  ASSERT_TRUE(model.ok()) << model.status();
  std::vector<float> got(images.count * graph.classes());
  ASSERT_EQ(got.size(), want.size());
  const absl::Status status =
      (*model)->Infer(images, absl::MakeSpan(got), *executor, [] { return false; });
  ASSERT_TRUE(status.ok()) << status;
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], want[i], kTolerance * want[i]) << "image " << i / graph.classes();
  }
}

std::vector<double> Wide(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

struct StepFigures {
  std::vector<double> losses, accuracies;
};

// Each step's own figures, out of the epoch's running means.
StepFigures PerStep(const std::vector<TrainingProgress>& progress, int64_t count, int64_t batch) {
  StepFigures figures;
  double loss_before = 0, accuracy_before = 0;
  int64_t seen_before = 0;
  for (const TrainingProgress& p : progress) {
    if (p.validating || p.step == 0) continue;
    const int64_t seen = std::min(count, p.step * batch);
    if (p.step == 1) loss_before = accuracy_before = seen_before = 0;
    const auto added = static_cast<double>(seen - seen_before);
    figures.losses.push_back((p.loss * seen - loss_before) / added);
    figures.accuracies.push_back((p.accuracy * seen - accuracy_before) / added);
    loss_before = p.loss * seen;
    accuracy_before = p.accuracy * seen;
    seen_before = seen;
  }
  return figures;
}

class TrainerVectorsTest : public ::testing::TestWithParam<const char*> {
 protected:
  TrainerVectorsTest() : vectors_(ReadTrainingVectors(GetParam())) {}

  std::unique_ptr<Trainer> NewTrainer(Executor& executor) {
    auto trainer = Trainer::Create(vectors_.graph, vectors_.request,
                                   AsTrainingData(vectors_.images, vectors_.graph.classes()),
                                   executor, Clock::Real());
    EXPECT_TRUE(trainer.ok()) << trainer.status();
    return trainer.ok() ? *std::move(trainer) : nullptr;
  }

  TrainingVectors vectors_;
};

TEST_P(TrainerVectorsTest, StartsFromTheSameWeights) {
  const std::unique_ptr<Executor> executor = NewThreadedExecutor(1);
  const std::unique_ptr<Trainer> trainer = NewTrainer(*executor);
  ASSERT_NE(trainer, nullptr);
  // random_test.cc compares InitialParameters with numpy's to the bit.
  EXPECT_EQ(trainer->parameters(), InitialParameters(vectors_.graph, vectors_.request.seed()));
}

TEST_P(TrainerVectorsTest, AnswersAlikeBeforeTraining) {
  ExpectProbabilities(vectors_.graph, InitialParameters(vectors_.graph, vectors_.request.seed()),
                      vectors_.images, vectors_.array("probabilities"));
}

TEST_P(TrainerVectorsTest, FollowsEveryStep) {
  const std::unique_ptr<Executor> executor = NewThreadedExecutor(2);
  const int64_t batch = vectors_.request.batch_size();
  // As the engine slices the batch; slices that don't divide it; a slice an image; one for all.
  for (int64_t micro_batch : {int64_t{0}, int64_t{3}, int64_t{1}, batch}) {
    SCOPED_TRACE("micro_batch " + std::to_string(micro_batch));
    vectors_.request.set_micro_batch(micro_batch);
    const absl::Status resolved = ResolveTraining(vectors_.request);
    ASSERT_TRUE(resolved.ok()) << resolved;
    const std::unique_ptr<Trainer> trainer = NewTrainer(*executor);
    ASSERT_NE(trainer, nullptr);
    RecordingObserver observer;
    const absl::Status run = trainer->Run(observer);
    ASSERT_TRUE(run.ok()) << run;

    const std::vector<double>& losses = vectors_.array("losses");
    const std::vector<double>& accuracies = vectors_.array("accuracies");
    const StepFigures steps = PerStep(observer.progress(), vectors_.images.count, batch);
    ASSERT_EQ(steps.losses.size(), losses.size());
    for (size_t i = 0; i < losses.size(); ++i) {
      EXPECT_NEAR(steps.losses[i], losses[i], kTolerance * losses[i]) << "step " << i + 1;
      EXPECT_NEAR(steps.accuracies[i], accuracies[i], 1e-9) << "step " << i + 1;
    }
    ExpectTensorsNear(vectors_.graph, Wide(trainer->parameters()), vectors_.array("final"));
    ExpectProbabilities(vectors_.graph, trainer->parameters(), vectors_.images,
                        vectors_.array("final_probabilities"));
  }
}

// An epoch's loss is the mean over its samples, not over its steps: the short last batch counts for
// what it holds.
TEST_P(TrainerVectorsTest, RecordsEachEpochsMeanOverTheSamples) {
  const std::unique_ptr<Executor> executor = NewThreadedExecutor(1);
  const std::unique_ptr<Trainer> trainer = NewTrainer(*executor);
  ASSERT_NE(trainer, nullptr);
  RecordingObserver observer;
  const absl::Status run = trainer->Run(observer);
  ASSERT_TRUE(run.ok()) << run;
  const int64_t count = vectors_.images.count, batch = vectors_.request.batch_size();
  const int64_t steps = (count + batch - 1) / batch;
  ASSERT_EQ(trainer->history().size(), static_cast<size_t>(vectors_.request.epochs()));
  for (const v1::EpochRecord& record : trainer->history()) {
    double loss = 0, accuracy = 0;
    for (int64_t s = 0; s < steps; ++s) {
      const int64_t at = (record.epoch() - 1) * steps + s;
      const auto samples = static_cast<double>(std::min(batch, count - s * batch));
      loss += vectors_.array("losses").at(at) * samples / count;
      accuracy += vectors_.array("accuracies").at(at) * samples / count;
    }
    EXPECT_NEAR(record.loss(), loss, kTolerance * loss) << "epoch " << record.epoch();
    EXPECT_NEAR(record.accuracy(), accuracy, 1e-9) << "epoch " << record.epoch();
  }
}

// Ends the run at the end of its first step.
class FirstStepObserver : public RecordingObserver {
 public:
  void OnProgress(const TrainingProgress& progress) override {
    RecordingObserver::OnProgress(progress);
    if (progress.step >= 1) cancelled_ = true;
  }
  bool Cancelled() const override { return cancelled_; }

 private:
  std::atomic<bool> cancelled_ = false;
};

TEST_P(TrainerVectorsTest, HasTheFirstStepsGradients) {
  const std::unique_ptr<Executor> executor = NewThreadedExecutor(2);
  // Plain SGD's first step is the gradient; so long a one costs no digits.
  const double rate = 1024;
  v1::TrainRequest request = vectors_.request;
  request.mutable_optimizer()->mutable_sgd()->Clear();
  request.mutable_optimizer()->mutable_sgd()->set_learning_rate(rate);
  const absl::Status resolved = ResolveTraining(request);
  ASSERT_TRUE(resolved.ok()) << resolved;
  auto trainer = Trainer::Create(vectors_.graph, request,
                                 AsTrainingData(vectors_.images, vectors_.graph.classes()),
                                 *executor, Clock::Real());
  ASSERT_TRUE(trainer.ok()) << trainer.status();
  const std::vector<float> before = (*trainer)->parameters();
  FirstStepObserver observer;
  EXPECT_EQ((*trainer)->Run(observer).code(), absl::StatusCode::kCancelled);
  const std::vector<float> after = (*trainer)->parameters();
  std::vector<double> gradient;
  for (size_t i = 0; i < before.size(); ++i) {
    gradient.push_back((double{before[i]} - after[i]) / rate);
  }
  ExpectTensorsNear(vectors_.graph, gradient, vectors_.array("gradient"));
}

INSTANTIATE_TEST_SUITE_P(Runs, TrainerVectorsTest,
                         ::testing::Values("keras_mnist", "lenet5", "layer_kinds", "sgd",
                                           "sgd_momentum", "sgd_nesterov"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace convd
