#include "core/dnn/calibration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "core/nn/network_text.h"
#include "core/nn/presets.h"
#include "tests/core/nn/random_parameters.h"

namespace convd {
namespace {

using ::testing::HasSubstr;

// One weight each: what reaches a layer can be worked out by hand.
const char kChain[] = R"(name: "chain" input { height: 1 width: 2 channels: 1 }
    preprocessing { scale: 0.5 }
    layers { name: "a" conv { filters: 1 kernel: 1 } }
    layers { name: "b" conv { filters: 1 kernel: 1 activation: ACTIVATION_RELU } }
    layers { flatten {} } layers { name: "c" dense { units: 2 } })";

ImageSet Floats(const std::vector<float>& pixels, const Graph& graph) {
  ImageSet images;
  images.type = ElementType::kFloat32;
  images.pixels = pixels.data();
  images.height = graph.input().height;
  images.width = graph.input().width;
  images.channels = graph.input().channels;
  images.count = static_cast<int64_t>(pixels.size()) / graph.input().elements();
  return images;
}

Graph Chain() { return *Graph::Create(*ParseNetwork(kChain, "chain")); }

TEST(Calibrate, NotesTheRangeOfEachLayersInput) {
  const Graph graph = Chain();
  // a: -2 x + 1, b: 3 x + 0.5, then its ReLU.
  const std::vector<float> parameters = {-2, 1, 3, 0.5f, 1, 1, 1, 1, 0, 0};
  const std::vector<float> pixels = {4, -6, 0, 2};  // scaled 2, -3, 0, 1
  auto executor = NewHandCrankedExecutor();
  const auto got = Calibrate(graph, parameters, Floats(pixels, graph), *executor, Lane::kTrain,
                             [] { return false; });
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_EQ(got->inputs_size(), 3);
  EXPECT_EQ(got->samples(), 2);
  const float want[][2] = {{-3, 2}, {-3, 7}, {0, 21.5f}};  // b's input -3, 7, 1, -1
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(got->inputs(i).layer(), std::string(1, "abc"[i]));
    EXPECT_FLOAT_EQ(got->inputs(i).low(), want[i][0]) << i;
    EXPECT_FLOAT_EQ(got->inputs(i).high(), want[i][1]) << i;
  }
}

TEST(Calibrate, NamesTheLayerWhoseInputIsntFinite) {
  const Graph graph = Chain();
  const std::vector<float> parameters = {3e38f, 0, 1, 0, 1, 1, 1, 1, 0, 0};
  const std::vector<float> pixels = {40, 1};
  auto executor = NewHandCrankedExecutor();
  const auto got = Calibrate(graph, parameters, Floats(pixels, graph), *executor, Lane::kTrain,
                             [] { return false; });
  EXPECT_EQ(got.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(got.status().message()), HasSubstr("layer \"b\""));
}

TEST(Calibrate, GivesTheSameOnAnyNumberOfWorkers) {
  const Graph graph = *Graph::Create(*Preset("keras-mnist"));
  const std::vector<float> parameters = RandomParameters(graph, 4);
  std::vector<float> pixels(150 * graph.input().elements());
  uint32_t state = 1;
  for (float& p : pixels)
    p = static_cast<float>((state = state * 1664525u + 1013904223u) >> 8) / 65536.0f;
  std::string one;
  for (const int workers : {1, 2, 3, 4}) {
    const std::unique_ptr<Executor> executor = NewThreadedExecutor(workers);
    const auto got = Calibrate(graph, parameters, Floats(pixels, graph), *executor, Lane::kTrain,
                               [] { return false; });
    ASSERT_TRUE(got.ok()) << got.status();
    if (one.empty()) one = got->SerializeAsString();
    EXPECT_EQ(got->SerializeAsString(), one);
  }
}

TEST(Calibrate, TakesImagesFromAllOverTheSet) {
  const Graph graph = Chain();
  const std::vector<float> parameters = {1, 0, 1, 0, 1, 1, 1, 1, 0, 0};
  // More than are looked at, larger towards the end.
  std::vector<float> pixels(2 * 5 * kCalibrationImages);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<float>(i);
  auto executor = NewHandCrankedExecutor();
  const auto got = Calibrate(graph, parameters, Floats(pixels, graph), *executor, Lane::kTrain,
                             [] { return false; });
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->samples(), kCalibrationImages);
  EXPECT_EQ(got->inputs(0).low(), 0);
  EXPECT_GT(got->inputs(0).high(), 0.5f * 2 * 5 * kCalibrationImages * 0.99f);
}

TEST(Calibrate, StopsWhenCancelledAndRefusesWhatDoesntFit) {
  const Graph graph = Chain();
  const std::vector<float> parameters(10, 1.0f), pixels = {1, 2};
  auto executor = NewHandCrankedExecutor();
  const ImageSet images = Floats(pixels, graph);
  EXPECT_EQ(Calibrate(graph, parameters, images, *executor, Lane::kTrain, [] { return true; })
                .status()
                .code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(Calibrate(graph, parameters, images.Slice(0, 0), *executor, Lane::kTrain,
                      [] { return false; })
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(
      Calibrate(graph, std::vector<float>(3), images, *executor, Lane::kTrain, [] { return false; })
          .status()
          .code(),
      absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace convd
