#include "core/dnn/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "core/dnn/inference_model.h"
#include "core/exec/executor.h"
#include "core/nn/presets.h"
#include "tests/core/nn/random_parameters.h"
#include "tests/core/nn/reference_forward.h"

namespace convd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Graph PresetGraph(const std::string& name) { return *Graph::Create(*Preset(name)); }

// Pixels that no two images share.
std::vector<uint8_t> Pixels(int64_t n) {
  std::vector<uint8_t> pixels(n);
  uint32_t state = 12345;
  for (uint8_t& p : pixels)
    p = static_cast<uint8_t>((state = state * 1664525u + 1013904223u) >> 24);
  return pixels;
}

ImageSet Images(const Graph& graph, const std::vector<uint8_t>& pixels, int64_t count) {
  return {.count = count,
          .height = graph.input().height,
          .width = graph.input().width,
          .channels = graph.input().channels,
          .type = ElementType::kUint8,
          .pixels = pixels.data(),
          .labels = {},
          .owner = nullptr};
}

class PresetPlan : public ::testing::TestWithParam<std::string> {};

// ctest runs this program once as the CPU is and once under ONEDNN_MAX_CPU_ISA=AVX2, where
// oneDNN 2.6 has no kernel for the first layer's weight gradient and would take its reference,
// hundreds of times slower.
TEST_P(PresetPlan, UsesNoReferenceKernel) {
  const Graph graph = PresetGraph(GetParam());
  for (bool training : {false, true}) {
    for (int64_t images : {1, 2, 8, 16}) {
      auto plan = Plan::Compile(graph, {.training = training, .images = images});
      ASSERT_TRUE(plan.ok()) << plan.status();
      EXPECT_FALSE((*plan)->calls().empty());
      for (const std::string& call : (*plan)->calls()) EXPECT_THAT(call, Not(HasSubstr("ref")));
    }
  }
}

TEST_P(PresetPlan, UnpacksWhatItPacked) {
  const Graph graph = PresetGraph(GetParam());
  const std::vector<float> canonical = RandomParameters(graph, 3);
  for (bool training : {false, true}) {
    auto plan = Plan::Compile(graph, {.training = training, .images = 4});
    ASSERT_TRUE(plan.ok()) << plan.status();
    std::vector<float> packed((*plan)->packed_size(), 7.0f);
    ASSERT_TRUE((*plan)->Pack(canonical, packed.data()).ok());
    std::vector<float> back(canonical.size());
    ASSERT_TRUE((*plan)->Unpack(packed.data(), absl::MakeSpan(back)).ok());
    EXPECT_EQ(back, canonical);
  }
}

TEST_P(PresetPlan, AgreesWithTheReferenceForwardPass) {
  const Graph graph = PresetGraph(GetParam());
  const std::vector<float> parameters = RandomParameters(graph, 5);
  constexpr int kImages = 3;
  const std::vector<uint8_t> pixels = Pixels(kImages * graph.input().elements());
  auto model = CompileInferenceModel(graph, parameters);
  ASSERT_TRUE(model.ok()) << model.status();
  auto executor = NewHandCrankedExecutor();
  std::vector<float> got(kImages * graph.classes());
  ASSERT_TRUE((*model)
                  ->Infer(Images(graph, pixels, kImages), absl::MakeSpan(got), *executor,
                          [] { return false; })
                  .ok());
  for (int i = 0; i < kImages; ++i) {
    const int64_t n = graph.input().elements();
    const std::vector<double> image(pixels.begin() + i * n, pixels.begin() + (i + 1) * n);
    const std::vector<double> want = ReferenceProbabilities(graph, parameters, image);
    for (int c = 0; c < graph.classes(); ++c)
      EXPECT_NEAR(got[i * graph.classes() + c], want[c], 1e-5);
  }
}

TEST_P(PresetPlan, GivesAnImageTheSameBitsAloneAndInEverySlotOfEveryBatch) {
  const Graph graph = PresetGraph(GetParam());
  const std::vector<float> parameters = RandomParameters(graph, 9);
  constexpr int kImages = 70;
  const std::vector<uint8_t> pixels = Pixels(kImages * graph.input().elements());
  const ImageSet images = Images(graph, pixels, kImages);
  auto model = CompileInferenceModel(graph, parameters);
  ASSERT_TRUE(model.ok()) << model.status();
  auto executor = NewHandCrankedExecutor();
  const int classes = graph.classes();
  std::vector<float> alone(kImages * classes);
  for (int i = 0; i < kImages; ++i) {
    ASSERT_TRUE((*model)
                    ->Infer(images.Slice(i, 1), absl::MakeSpan(alone).subspan(i * classes, classes),
                            *executor, [] { return false; })
                    .ok());
  }
  for (int batch : {2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 64, 70}) {
    std::vector<float> together(batch * classes);
    ASSERT_TRUE((*model)
                    ->Infer(images.Slice(kImages - batch, batch), absl::MakeSpan(together),
                            *executor, [] { return false; })
                    .ok());
    EXPECT_EQ(0, std::memcmp(together.data(), alone.data() + (kImages - batch) * classes,
                             together.size() * sizeof(float)))
        << "batch of " << batch;
  }
}

INSTANTIATE_TEST_SUITE_P(All, PresetPlan, ::testing::ValuesIn(PresetNames()), [](const auto& info) {
  std::string name = info.param;
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
});

TEST(InferenceModel, RefusesImagesOfAnotherShapeWithBothShapes) {
  const Graph graph = PresetGraph("keras-mnist");
  auto model = CompileInferenceModel(graph, RandomParameters(graph, 1));
  ASSERT_TRUE(model.ok());
  auto executor = NewHandCrankedExecutor();
  const std::vector<uint8_t> pixels(32 * 32 * 3);
  ImageSet images = Images(PresetGraph("classic-cifar10"), pixels, 1);
  std::vector<float> p(10);
  const absl::Status status =
      (*model)->Infer(images, absl::MakeSpan(p), *executor, [] { return false; });
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("got 32x32x3; the model takes 28x28x1"));
}

TEST(InferenceModel, StopsAtACutWhenCancelled) {
  const Graph graph = PresetGraph("keras-mnist");
  auto model = CompileInferenceModel(graph, RandomParameters(graph, 1));
  ASSERT_TRUE(model.ok());
  auto executor = NewHandCrankedExecutor();
  const std::vector<uint8_t> pixels = Pixels(28 * 28);
  std::vector<float> p(10);
  int cuts = 0;
  const absl::Status status = (*model)->Infer(Images(graph, pixels, 1), absl::MakeSpan(p),
                                              *executor, [&] { return ++cuts == 2; });
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(cuts, 2);
}

TEST(Plan, StopsBetweenAWorkspacesBuffersWhenCancelled) {
  const Graph graph = PresetGraph("keras-mnist");
  auto plan = Plan::Compile(graph, {.training = true, .images = 1});
  ASSERT_TRUE(plan.ok());
  const std::vector<float> packed((*plan)->packed_size()), derived((*plan)->derived_size());
  int cuts = 0;
  const auto workspace =
      (*plan)->NewWorkspace(packed.data(), derived.data(), [&] { return ++cuts < 3; });
  EXPECT_EQ(workspace.status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(cuts, 3);
}

TEST(InferenceModel, RefusesAWrongNumberOfParameters) {
  const Graph graph = PresetGraph("keras-mnist");
  auto model = CompileInferenceModel(graph, std::vector<float>(3));
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(model.status().message(), HasSubstr("got 3; the network has 34826"));
}

TEST(MicroBatchImages, LeavesSixteenMicroBatchesABatchWhereItCan) {
  const Graph graph = PresetGraph("keras-mnist");
  EXPECT_EQ(MicroBatchImages(graph, 1), 1);
  EXPECT_EQ(MicroBatchImages(graph, 16), 1);
  EXPECT_EQ(MicroBatchImages(graph, 32), 2);
  EXPECT_EQ(MicroBatchImages(graph, 128), 8);
  // 2 * 11*11*64 * 9*32 = 4.46 MFLOP an image: 16 images in 72 MFLOP, so 63 micro-batches of at
  // most 16.
  EXPECT_EQ(MicroBatchImages(graph, 1000), 16);
}

}  // namespace
}  // namespace convd
