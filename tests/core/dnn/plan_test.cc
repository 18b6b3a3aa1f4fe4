#include "core/dnn/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/dnn/calibration.h"
#include "core/dnn/explain.h"
#include "core/dnn/inference_model.h"
#include "core/dnn/precision.h"
#include "core/dnn/quantization.h"
#include "core/exec/executor.h"
#include "core/nn/network_text.h"
#include "core/nn/presets.h"
#include "tests/core/nn/random_parameters.h"
#include "tests/core/nn/reference_forward.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

Graph GraphOf(const char* text) { return *Graph::Create(*ParseNetwork(text, "test")); }
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

// A plan with a workspace, on weights of zeros.
struct BoundPlan {
  BoundPlan(const Graph& graph, bool training, int64_t images)
      : plan(*Plan::Compile(graph, {.training = training, .images = images})),
        packed(plan->packed_size()),
        derived(plan->derived_size()),
        workspace(*plan->NewWorkspace(packed.data(), derived.data(), [] { return true; })) {}
  std::shared_ptr<const Plan> plan;
  std::vector<float> packed, derived;
  std::unique_ptr<Workspace> workspace;
};

// ctest runs this program once as the CPU is and once under ONEDNN_MAX_CPU_ISA=AVX2, where
// oneDNN 2.6 has no kernel for the first layer's weight gradient and would take its reference,
// hundreds of times slower.
TEST_P(PresetPlan, HasPlannedKernelsOnly) {
  const Graph graph = PresetGraph(GetParam());
  for (bool training : {false, true}) {
    for (int64_t images : {1, 2, 8, 16}) {
      const BoundPlan bound(graph, training, images);
      EXPECT_THAT(bound.workspace->calls(), Not(IsEmpty()));
      for (const CallInfo& call : bound.workspace->calls()) {
        EXPECT_TRUE(call.planned) << call.layer << " " << call.pass << " " << call.kernel;
        EXPECT_THAT(call.kernel, Not(HasSubstr("ref")));
      }
    }
  }
}

TEST_P(PresetPlan, AsksAtACutAfterEachCallThatItNames) {
  const Graph graph = PresetGraph(GetParam());
  const std::vector<uint8_t> pixels = Pixels(graph.input().elements());
  ImageSet images = Images(graph, pixels, 1);
  const int32_t label = 0;
  images.labels = {&label, 1};
  for (bool training : {false, true}) {
    BoundPlan bound(graph, training, 2);
    std::vector<float> gradient(bound.plan->packed_size()), probabilities(graph.classes());
    MicroBatch batch;
    batch.images = &images;
    const uint32_t sample = 0;
    batch.samples = {&sample, 1};
    batch.gradient = gradient.data();
    batch.probabilities = probabilities.data();
    size_t cuts = 0;
    ASSERT_TRUE(bound.plan->RunPhase(0, *bound.workspace, batch, [&] { return ++cuts > 0; }).ok());
    EXPECT_EQ(cuts, bound.workspace->calls().size());
  }
}

TEST_P(PresetPlan, InBf16AllConvolutionsButTheFirstMultiplyInBf16) {
  if (!CheckPrecision("", v1::PRECISION_BF16).ok()) GTEST_SKIP() << "no bf16 here";
  const Graph graph = PresetGraph(GetParam());
  std::set<std::string> convolutions;
  for (const GraphLayer& layer : graph.layers())
    if (layer.kind == LayerKind::kConv2D) convolutions.insert(layer.name);
  for (bool training : {false, true}) {
    const auto calls =
        PlanCalls(graph, {.training = training, .images = 4, .precision = v1::PRECISION_BF16});
    ASSERT_TRUE(calls.ok()) << calls.status();
    std::set<std::string> in_bf16;
    for (const CallInfo& call : *calls) {
      EXPECT_TRUE(call.planned) << call.layer << " " << call.pass << " by " << call.kernel;
      const std::string layer = call.layer.substr(0, call.layer.find('+'));
      if (call.kernel.find("bf16") != std::string::npos ||
          call.kernel.find("amx") != std::string::npos) {
        in_bf16.insert(layer);
      }
    }
    EXPECT_EQ(in_bf16.size(), convolutions.size() - 1) << ::testing::PrintToString(in_bf16);
  }
}

TEST_P(PresetPlan, InInt8AllLayersWithWeightsMultiplyBytesAndPixelsComeAsBytes) {
  if (!CheckPrecision("", v1::PRECISION_INT8).ok()) GTEST_SKIP() << "no int8 here";
  const Graph graph = PresetGraph(GetParam());
  v1::Quantization quantization;
  std::set<std::string> weighted;
  for (const GraphLayer& layer : graph.layers()) {
    if (!HasWeights(layer)) continue;
    weighted.insert(layer.name);
    quantization.add_inputs()->set_layer(layer.name);
  }
  const auto calls = PlanCalls(
      graph, {.images = 4, .precision = v1::PRECISION_INT8, .quantization = &quantization});
  ASSERT_TRUE(calls.ok()) << calls.status();
  std::set<std::string> in_bytes;
  for (const CallInfo& call : *calls) {
    if (call.kernel == "own:x86-64-v4-vnni") {
      in_bytes.insert(call.layer.substr(0, call.layer.find('+')));
    }
    if (call.pass == "gather") {
      EXPECT_EQ(call.bytes, 2 * 4 * graph.input().elements());
    }
  }
  EXPECT_EQ(in_bytes, weighted);
}

TEST_P(PresetPlan, UnpacksWhatItPackedWhenTraining) {
  const Graph graph = PresetGraph(GetParam());
  const std::vector<float> canonical = RandomParameters(graph, 3);
  for (const auto& [training, precision] :
       {std::pair(false, v1::PRECISION_F32), std::pair(true, v1::PRECISION_F32),
        std::pair(true, v1::PRECISION_BF16)}) {
    if (!CheckPrecision("", precision).ok()) continue;
    auto plan = Plan::Compile(graph, {.training = training, .images = 4, .precision = precision});
    ASSERT_TRUE(plan.ok()) << plan.status();
    std::vector<float> packed((*plan)->packed_size(), 7.0f);
    ASSERT_TRUE((*plan)->Pack(canonical, packed.data()).ok());
    std::vector<float> back(canonical.size());
    const absl::Status unpacked = (*plan)->Unpack(packed.data(), absl::MakeSpan(back));
    if (training) {
      ASSERT_TRUE(unpacked.ok()) << unpacked;
      EXPECT_EQ(back, canonical);
    } else {
      EXPECT_EQ(unpacked.code(), absl::StatusCode::kFailedPrecondition);
    }
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

TEST_P(PresetPlan, GivesAnImageTheSameBitsAloneAndInEverySlotOfEveryBatchAtEveryPrecision) {
  const Graph graph = PresetGraph(GetParam());
  const std::vector<float> parameters = RandomParameters(graph, 9);
  constexpr int kImages = 70;
  const std::vector<uint8_t> pixels = Pixels(kImages * graph.input().elements());
  const ImageSet images = Images(graph, pixels, kImages);
  auto executor = NewHandCrankedExecutor();
  const auto quantization =
      Calibrate(graph, parameters, images, *executor, Lane::kTrain, [] { return false; });
  ASSERT_TRUE(quantization.ok()) << quantization.status();
  const int classes = graph.classes();
  for (const v1::Precision precision : kPrecisions) {
    if (!CheckPrecision("", precision).ok()) continue;
    SCOPED_TRACE(std::string(PrecisionName(precision)));
    auto model = CompileInferenceModel(graph, parameters,
                                       {.precision = precision, .quantization = &*quantization});
    ASSERT_TRUE(model.ok()) << model.status();
    std::vector<float> alone(kImages * classes);
    for (int i = 0; i < kImages; ++i) {
      ASSERT_TRUE((*model)
                      ->Infer(images.Slice(i, 1),
                              absl::MakeSpan(alone).subspan(i * classes, classes), *executor,
                              [] { return false; })
                      .ok());
    }
    for (int batch = 2; batch <= kImages; ++batch) {
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

TEST(PieceImages, LetsWorkersShareButLeavesAHandfulTogether) {
  const Graph graph = PresetGraph("keras-mnist");
  auto model = CompileInferenceModel(graph, RandomParameters(graph, 1));
  ASSERT_TRUE(model.ok());
  ASSERT_EQ((*model)->preferred_images(), 16);
  EXPECT_EQ(PieceImages(**model, 1000, 2), 16);
  EXPECT_EQ(PieceImages(**model, 32, 2), 16);
  EXPECT_EQ(PieceImages(**model, 17, 2), 9);
  EXPECT_EQ(PieceImages(**model, 8, 2), 4);
  EXPECT_EQ(PieceImages(**model, 8, 1), 8);
  EXPECT_EQ(PieceImages(**model, 8, 64), 4);
  EXPECT_EQ(PieceImages(**model, 1, 2), 4);  // of which there is one
}

TEST(InferenceModel, RefusesAWrongNumberOfParameters) {
  const Graph graph = PresetGraph("keras-mnist");
  auto model = CompileInferenceModel(graph, std::vector<float>(3));
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(model.status().message(), HasSubstr("got 3; the network has 34826"));
}

std::vector<std::string> Passes(const std::vector<CallInfo>& calls) {
  std::vector<std::string> passes;
  for (const CallInfo& call : calls) passes.push_back(call.layer + " " + call.pass);
  return passes;
}

CallInfo Find(const std::vector<CallInfo>& calls, const std::string& layer,
              const std::string& pass) {
  for (const CallInfo& call : calls)
    if (call.layer == layer && call.pass == pass) return call;
  ADD_FAILURE() << "no call " << layer << " " << pass;
  return {};
}

TEST(PlanCalls, AreInTheOrderInWhichTheyRun) {
  const Graph graph = PresetGraph("keras-mnist");
  EXPECT_THAT(Passes(BoundPlan(graph, false, 1).workspace->calls()),
              ElementsAre("input gather", "conv2d+max_pooling2d forward",
                          "conv2d_1+max_pooling2d_1 forward", "dense forward", "output softmax"));
  EXPECT_THAT(Passes(BoundPlan(graph, true, 1).workspace->calls()),
              ElementsAre("input gather", "conv2d+max_pooling2d forward",
                          "conv2d_1+max_pooling2d_1 forward", "dropout forward", "dense forward",
                          "output loss", "dense backward_weights", "dense backward_data",
                          "dropout backward", "conv2d_1+max_pooling2d_1 backward",
                          "conv2d+max_pooling2d backward_weights"));
  // A stride, and channels that fill no block: oneDNN's kernels, and pools of their own.
  EXPECT_THAT(
      Passes(BoundPlan(
                 GraphOf(R"pb(
                   name: "strided"
                   input { height: 12 width: 12 channels: 1 }
                   layers {
                     conv { filters: 6 kernel: 3 stride: 1 stride: 2 activation: ACTIVATION_RELU }
                   }
                   layers { max_pool { size: 2 } }
                   layers { conv { filters: 10 kernel: 2 activation: ACTIVATION_RELU } }
                   layers { flatten {} }
                   layers { dense { units: 3 } })pb"),
                 true, 1)
                 .workspace->calls()),
      ElementsAre("input gather", "conv2d forward", "max_pooling2d forward", "conv2d_1 forward",
                  "dense forward", "output loss", "dense backward_weights", "dense backward_data",
                  "conv2d_1 backward_relu", "conv2d_1 backward_weights", "conv2d_1 backward_bias",
                  "conv2d_1 backward_data", "max_pooling2d backward", "conv2d backward_weights",
                  "conv2d backward_bias"));
  // The narrow kernel takes any number of filters, and pads. An activation other than ReLU is an
  // operation of its own.
  EXPECT_THAT(
      Passes(BoundPlan(
                 GraphOf(R"pb(
                   name: "narrow"
                   input { height: 12 width: 12 channels: 1 }
                   layers {
                     conv { filters: 6 kernel: 5 padding: PADDING_SAME activation: ACTIVATION_TANH }
                   }
                   layers { max_pool { size: 2 } }
                   layers { flatten {} }
                   layers { dense { units: 3 } })pb"),
                 true, 1)
                 .workspace->calls()),
      ElementsAre("input gather", "conv2d forward", "conv2d forward_activation",
                  "max_pooling2d forward", "dense forward", "output loss", "dense backward_weights",
                  "dense backward_data", "max_pooling2d backward", "conv2d backward_activation",
                  "conv2d backward_weights"));
}

// Counted by hand, as the direct method needs them, whichever computes it.
TEST(PlanCalls, CountFlopOfConvolutionsAndDenseLayers) {
  const Graph graph = PresetGraph("keras-mnist");
  const int64_t conv2d = 2 * 26 * 26 * 32 * 9 * 1, conv2d_1 = 2 * 11 * 11 * 64 * 9 * 32,
                dense = 2 * 1600 * 10;
  for (const int64_t images : {1, 8}) {
    const BoundPlan bound(graph, true, images);
    const std::vector<CallInfo> calls = bound.workspace->calls();
    EXPECT_EQ(Find(calls, "conv2d+max_pooling2d", "forward").flop, images * conv2d);
    EXPECT_EQ(Find(calls, "conv2d+max_pooling2d", "backward_weights").flop, images * conv2d);
    EXPECT_EQ(Find(calls, "conv2d_1+max_pooling2d_1", "forward").flop, images * conv2d_1);
    EXPECT_EQ(Find(calls, "conv2d_1+max_pooling2d_1", "backward").flop, images * 2 * conv2d_1);
    EXPECT_EQ(Find(calls, "dense", "forward").flop, images * dense);
    int64_t total = 0;
    for (const CallInfo& call : calls) total += call.flop;
    EXPECT_EQ(total, images * (2 * conv2d + 3 * conv2d_1 + 3 * dense));
  }
}

// Of the padding, only a dense layer's is there whatever the instruction set: 10 units are kept as
// 16.
TEST(PlanCalls, CountTheBytesOfInputsWeightsAndOutputs) {
  const BoundPlan bound(PresetGraph("keras-mnist"), true, 2);
  const std::vector<CallInfo> calls = bound.workspace->calls();
  const int64_t pooled = 5 * 5 * 64, in = 13 * 13 * 32;
  // Which of four outputs is the largest takes a byte; 36 points stand for a kernel's nine weights.
  EXPECT_EQ(Find(calls, "conv2d_1+max_pooling2d_1", "forward").bytes,
            4 * (2 * (in + pooled) + 36 * 32 * 64 + 64) + 2 * pooled);
  EXPECT_EQ(Find(calls, "conv2d_1+max_pooling2d_1", "backward").bytes,
            4 * (2 * (2 * in + 2 * pooled) + 9 * 32 * 64 + 64 + 36 * 32 * 64) + 2 * pooled);
  // The ReLU's mask reads y and writes dy.
  EXPECT_EQ(Find(calls, "conv2d+max_pooling2d", "backward_weights").bytes,
            4 * (2 * (28 * 28 + 3 * in) + 9 * 32 + 32) + 2 * in);
  EXPECT_EQ(Find(calls, "dropout", "forward").bytes, 2 * 1600 * (4 + 4 + 1));
  EXPECT_EQ(Find(calls, "dense", "forward").bytes, 4 * (2 * (1600 + 10) + 1601 * 16));
  EXPECT_EQ(Find(calls, "dense", "backward_data").bytes, 4 * (2 * (1600 + 10) + 1600 * 10));
}

TEST(MicroBatchImages, LeavesSixteenMicroBatchesABatchWhereItCan) {
  const Graph graph = PresetGraph("keras-mnist");
  EXPECT_EQ(MicroBatchImages(graph, 1), 1);
  EXPECT_EQ(MicroBatchImages(graph, 16), 1);
  EXPECT_EQ(MicroBatchImages(graph, 32), 2);
  EXPECT_EQ(MicroBatchImages(graph, 128), 8);
  // 63 micro-batches of at most 16, which plan_memory_test has from the bytes of an image.
  EXPECT_EQ(MicroBatchImages(graph, 1000), 16);
}

}  // namespace
}  // namespace convd
