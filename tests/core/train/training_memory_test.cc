#include "core/train/training_memory.h"

#include <gtest/gtest.h>

#include <string>

#include "core/nn/network_text.h"
#include "core/nn/presets.h"

namespace convd {
namespace {

v1::TrainRequest Request(int64_t batch_size, int64_t micro_batch) {
  v1::TrainRequest request;
  request.mutable_optimizer()->mutable_adam();
  request.set_batch_size(batch_size);
  request.set_micro_batch(micro_batch);
  return request;
}

Graph PresetGraph(const char* name) { return *Graph::Create(*Preset(name)); }

// 784 x 100,000 weights, 314 MB.
Graph Wide() {
  auto network = ParseNetwork(
      "name: 'wide' input { height: 28 width: 28 channels: 1 } layers { flatten {} } "
      "layers { dense { units: 100000 } } layers { dense { units: 10 } }",
      "wide");
  return *Graph::Create(*network);
}

TEST(TrainingMemory, CountsEachArrayThatIsAsLargeAsTheWeights) {
  const Graph graph = Wide();
  const double weights = 4.0 * static_cast<double>(graph.parameter_count());
  // Weights, two moments, the one leaf, backward's copy (none for the first layer, a hundredth of
  // it all: counted whole), two copies in canonical order, and one to calibrate with.
  const TrainingMemory one = EstimateTrainingMemory(graph, Request(1, 1), 1000, 0, 1);
  EXPECT_GE(static_cast<double>(one.arrays), 7 * weights);
  EXPECT_LE(static_cast<double>(one.arrays), 8.1 * weights);
  // SGD has one moment.
  v1::TrainRequest sgd = Request(1, 1);
  sgd.mutable_optimizer()->mutable_sgd();
  const TrainingMemory with_sgd = EstimateTrainingMemory(graph, sgd, 1000, 0, 1);
  EXPECT_NEAR(static_cast<double>(one.arrays - with_sgd.arrays), weights, weights / 50);
  // Early stopping keeps the best epoch's weights, if it is to publish them.
  v1::TrainRequest stops = Request(1, 1);
  stops.mutable_early_stopping();
  EXPECT_EQ(EstimateTrainingMemory(graph, stops, 1000, 0, 1).arrays, one.arrays);
  stops.mutable_early_stopping()->set_restore_best(true);
  EXPECT_NEAR(
      static_cast<double>(EstimateTrainingMemory(graph, stops, 1000, 0, 1).arrays - one.arrays),
      weights, weights / 1000);
  // 4 micro-batches on 4 workers: 3 leaves more.
  const TrainingMemory four = EstimateTrainingMemory(graph, Request(4, 1), 1000, 0, 4);
  EXPECT_NEAR(static_cast<double>(four.arrays - one.arrays), 3 * weights, weights / 20);
}

TEST(TrainingMemory, GrowsWithTheWorkersThatABatchKeepsBusyAndNoFurther) {
  const Graph graph = PresetGraph("keras-mnist");
  const auto workspaces = [&](int64_t batch, int workers) {
    return EstimateTrainingMemory(graph, Request(batch, 16), 60000, 0, workers).workspaces;
  };
  EXPECT_EQ(workspaces(256, 4), 4 * workspaces(256, 1));
  EXPECT_EQ(workspaces(256, 16), 16 * workspaces(256, 1));
  EXPECT_EQ(workspaces(256, 20), 16 * workspaces(256, 1));
  // Beyond them only the calibration's tasks share, 64 of 16 images.
  EXPECT_EQ(workspaces(256, 1000), workspaces(256, 64));
}

TEST(TrainingMemory, TakesABatchForNoLargerThanTheSamples) {
  const Graph graph = PresetGraph("keras-mnist");
  EXPECT_EQ(EstimateTrainingMemory(graph, Request(1 << 20, 1 << 20), 60, 0, 4).total(),
            EstimateTrainingMemory(graph, Request(60, 60), 60, 0, 4).total());
}

TEST(TrainingMemory, CountsTheValidationsPlanBesideTheTrainings) {
  const Graph graph = PresetGraph("keras-mnist");
  const TrainingMemory without = EstimateTrainingMemory(graph, Request(32, 2), 60, 0, 4);
  const TrainingMemory with = EstimateTrainingMemory(graph, Request(32, 2), 60, 10, 4);
  EXPECT_GT(with.workspaces, without.workspaces);
  EXPECT_GT(with.arrays, without.arrays);
  // What an evaluation keeps of each sample.
  const TrainingMemory more = EstimateTrainingMemory(graph, Request(32, 2), 60, 1'000'010, 4);
  EXPECT_EQ(more.arrays - with.arrays, 12'000'000);
}

TEST(TrainingMemory, NeverOverflows) {
  std::string layers;
  for (int i = 0; i < 900; ++i) layers += "layers { activation { activation: ACTIVATION_ELU } } ";
  auto network =
      ParseNetwork("name: 'n' input { height: 16000 width: 16000 channels: 1 } " + layers +
                       "layers { max_pool { size: 16000 } } layers { flatten {} } "
                       "layers { dense { units: 2 } }",
                   "n");
  ASSERT_TRUE(network.ok()) << network.status();
  const TrainingMemory memory = EstimateTrainingMemory(
      *Graph::Create(*network), Request(1 << 20, 1 << 20), int64_t{1} << 40, 1 << 30, 1 << 16);
  EXPECT_GT(memory.workspaces, int64_t{1} << 60);
  EXPECT_LE(memory.workspaces, int64_t{1} << 61);
  EXPECT_GT(memory.total(), 0);
}

}  // namespace
}  // namespace convd
