#include "core/dnn/plan_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/dnn/precision.h"
#include "core/dnn/quantization.h"
#include "core/nn/network_text.h"
#include "core/nn/presets.h"

namespace convd {
namespace {

Graph GraphOf(const std::string& layers, int height = 28, int channels = 1) {
  auto network = ParseNetwork(absl::StrCat("name: 'n' input { height: ", height, " width: ", height,
                                           " channels: ", channels, " } ", layers),
                              "n");
  EXPECT_TRUE(network.ok()) << network.status();
  auto graph = Graph::Create(*network);
  EXPECT_TRUE(graph.ok()) << graph.status();
  return *std::move(graph);
}

// 28 x 28 x 4000 floats, 12.5 MB an image, eleven times over.
Graph HoldsMuchAndComputesLittle(int filters = 4000) {
  std::string layers = absl::StrCat("layers { conv { filters: ", filters, " kernel: 1 } } ");
  for (int i = 0; i < 10; ++i) layers += "layers { activation { activation: ACTIVATION_ELU } } ";
  return GraphOf(layers +
                 "layers { max_pool { size: 28 } } layers { flatten {} } "
                 "layers { dense { units: 10 } }");
}

struct Actual {
  int64_t workspace, packed, derived;
};

Actual Compiled(const Graph& graph, const PlanOptions& options) {
  auto plan = Plan::Compile(graph, options);
  EXPECT_TRUE(plan.ok()) << plan.status();
  const std::vector<float> packed((*plan)->packed_size()), derived((*plan)->derived_size() + 1);
  auto workspace = (*plan)->NewWorkspace(packed.data(), derived.data(), [] { return true; });
  EXPECT_TRUE(workspace.ok()) << workspace.status();
  return {(*workspace)->bytes(), (*plan)->packed_size() * 4, (*plan)->derived_size() * 4};
}

// Never below what is allocated, and not so far above it that what fits is refused. The slack is
// for scratchpads, and for gradients out of their layout, which depend on the instruction set.
void ExpectClose(const std::string& name, const Graph& graph) {
  for (const auto& [training, observes] :
       {std::pair(true, false), std::pair(false, false), std::pair(false, true)}) {
    for (const auto& [precision, images] :
         {std::pair(v1::PRECISION_F32, 1), std::pair(v1::PRECISION_F32, 5),
          std::pair(v1::PRECISION_BF16, 1), std::pair(v1::PRECISION_BF16, 5),
          std::pair(v1::PRECISION_INT8, 1), std::pair(v1::PRECISION_INT8, 5)}) {
      if (!CheckPrecision("", precision).ok()) continue;
      if (precision != v1::PRECISION_F32 && observes) continue;
      if (precision == v1::PRECISION_INT8 && training) continue;
      SCOPED_TRACE(absl::StrCat(name,
                                training   ? " training "
                                : observes ? " calibration "
                                           : " inference ",
                                images, " precision ", precision));
      v1::Quantization quantization;
      for (const GraphLayer& layer : graph.layers())
        if (HasWeights(layer)) quantization.add_inputs()->set_layer(layer.name);
      const PlanOptions options{.training = training,
                                .images = images,
                                .precision = precision,
                                .quantization = &quantization,
                                .observes_inputs = observes};
      const Actual actual = Compiled(graph, options);
      // Beside so few weights, or so little that is copied, a scratchpad's estimate weighs more.
      const int64_t slack = precision == v1::PRECISION_INT8 || observes ? 1 << 20 : 1 << 18;
      const PlanMemory memory = EstimatePlanMemory(graph, options);
      EXPECT_GE(memory.workspace_bytes, actual.workspace);
      EXPECT_LE(memory.workspace_bytes, 2 * (actual.workspace + actual.packed) + slack);
      EXPECT_GE(memory.packed_bytes, actual.packed);
      EXPECT_LE(memory.packed_bytes, 2 * actual.packed + (1 << 20));
      EXPECT_GE(memory.derived_bytes, actual.derived);
      EXPECT_LE(memory.derived_bytes, 2 * (actual.derived + actual.packed) + (1 << 20));
    }
  }
}

TEST(PlanMemory, OfPresetsIsNearWhatPlansAllocate) {
  for (const std::string& name : PresetNames()) {
    auto network = Preset(name);
    ASSERT_TRUE(network.ok());
    auto graph = Graph::Create(*network);
    ASSERT_TRUE(graph.ok());
    ExpectClose(name, *graph);
  }
}

TEST(PlanMemory, OfEveryKindOfLayerIsNearWhatPlansAllocate) {
  const std::string end = " layers { flatten {} } layers { dense { units: 10 } }";
  const struct {
    const char* name;
    const char* layers;
    int height, channels;
  } kCases[] = {
      {"odd channels",
       "layers { conv { filters: 37 kernel: 3 } } layers { conv { filters: 53 kernel: 5 } }", 64,
       3},
      {"padded first layer",
       "layers { conv { filters: 2 kernel: 5 padding: PADDING_SAME } } layers { max_pool {} }", 256,
       3},
      {"wide",
       "layers { conv { filters: 512 kernel: 1 } } layers { conv { filters: 512 kernel: 3 } }", 16,
       3},
      {"slices of layers",
       "layers { conv { filters: 64 kernel: 5 padding: PADDING_SAME } } layers { conv { filters: "
       "256 kernel: 3 padding: PADDING_SAME activation: ACTIVATION_RELU } } layers { conv { "
       "filters: 256 kernel: 3 padding: PADDING_SAME activation: ACTIVATION_RELU } } layers { "
       "max_pool {} } layers { conv { filters: 500 kernel: 5 padding: PADDING_SAME activation: "
       "ACTIVATION_RELU } } layers { max_pool {} } layers { flatten {} } layers { dense { units: "
       "400 activation: ACTIVATION_RELU } }",
       15, 3},
      {"one filter",
       "layers { conv { filters: 100 kernel: 7 } } layers { conv { filters: 1 kernel: 7 } }", 40,
       1},
      {"depthwise",
       "layers { conv { filters: 96 kernel: 1 } } layers { conv { filters: 96 kernel: 3 groups: 96 "
       "} }",
       48, 4},
      {"groups",
       "layers { conv { filters: 96 kernel: 1 } } layers { conv { filters: 64 kernel: 3 groups: 32 "
       "} }",
       48, 4},
      {"blocked groups",
       "layers { conv { filters: 64 kernel: 1 } } layers { conv { filters: 64 kernel: 3 groups: 4 "
       "} }",
       48, 4},
      {"groups that are cut",
       "layers { conv { filters: 256 kernel: 1 } } layers { conv { filters: 256 kernel: 3 groups: "
       "64 activation: ACTIVATION_RELU } } layers { max_pool { size: 4 } } layers { conv { "
       "filters: 512 kernel: 5 groups: 2 activation: ACTIVATION_RELU } }",
       48, 3},
      {"dilated",
       "layers { conv { filters: 48 kernel: 3 dilation: 2 } } layers { conv { filters: 40 kernel: "
       "3 "
       "dilation: 3 } }",
       48, 4},
      {"strided",
       "layers { conv { filters: 24 kernel: 5 stride: 2 padding: PADDING_SAME } } layers { conv { "
       "filters: 72 kernel: 3 stride: 3 } }",
       96, 3},
      {"more channels than a block holds",
       "layers { conv { filters: 100 kernel: 3 } } layers { conv { filters: 200 kernel: 3 } }", 24,
       3},
      {"activations",
       "layers { conv { filters: 64 kernel: 3 activation: ACTIVATION_ELU } } layers { activation { "
       "activation: ACTIVATION_TANH } } "
       "layers { conv { filters: 64 kernel: 3 activation: ACTIVATION_RELU } } layers { activation "
       "{ activation: ACTIVATION_ELU } }",
       64, 3},
      {"pools",
       "layers { conv { filters: 64 kernel: 3 } } layers { average_pool { size: 2 } } "
       "layers { max_pool { size: 2 } } layers { activation { activation: ACTIVATION_SIGMOID } } "
       "layers { dropout { rate: 0.5 } } layers { dropout { rate: 0.5 } }",
       64, 3},
      {"blocks with pools in them",
       "layers { conv { filters: 64 kernel: 3 activation: ACTIVATION_RELU } } layers { max_pool { "
       "size: 2 } } layers { conv { filters: 128 kernel: 3 padding: PADDING_SAME } } "
       "layers { activation { activation: ACTIVATION_RELU } } layers { max_pool { size: 2 } } "
       "layers { conv { filters: 48 kernel: 3 } } layers { max_pool { size: 2 } } "
       "layers { conv { filters: 32 kernel: 3 padding: PADDING_SAME activation: ACTIVATION_TANH } "
       "} "
       "layers { max_pool { size: 2 } } layers { conv { filters: 32 kernel: 3 activation: "
       "ACTIVATION_RELU } } "
       "layers { max_pool { size: 3 stride: 1 } }",
       96, 1},
      {"a ReLU, a pool and another activation",
       "layers { conv { filters: 16 kernel: 1 } } layers { conv { filters: 16 kernel: 3 padding: "
       "PADDING_SAME } } layers { activation { activation: ACTIVATION_RELU } } layers { max_pool { "
       "size: 2 } } layers { activation { activation: ACTIVATION_ELU } } layers { max_pool { size: "
       "2 } } layers { max_pool { size: 2 } }",
       64, 3},
      {"an activation after a pool that masks",
       "layers { conv { filters: 10 kernel: 1 activation: ACTIVATION_RELU } } layers { max_pool { "
       "size: 1 } } layers { activation { activation: ACTIVATION_ELU } } layers { conv { filters: "
       "30 kernel: 1 activation: ACTIVATION_RELU } } layers { max_pool { size: 3 } } layers { "
       "max_pool { size: 2 } }",
       64, 3},
      {"no parameters before",
       "layers { dropout { rate: 0.5 } } layers { average_pool { size: 2 } } layers { activation { "
       "activation: ACTIVATION_ELU } } layers { max_pool { size: 2 } } layers { activation { "
       "activation: ACTIVATION_TANH } }",
       64, 30},
      {"a window beyond a byte",
       "layers { conv { filters: 60 kernel: 1 } } layers { max_pool { size: 17 stride: 1 } }", 64,
       3},
      {"dense",
       "layers { flatten {} } layers { dense { units: 1000 activation: ACTIVATION_RELU } } layers "
       "{ dense { units: 700 } }",
       64, 3},
  };
  for (const auto& c : kCases) {
    ExpectClose(c.name, GraphOf(c.layers + end, c.height, c.channels));
  }
  ExpectClose("much", HoldsMuchAndComputesLittle(400));
}

TEST(PlanMemory, AnImageOfANetworkThatHoldsMuchTakesWhatAHandCounts) {
  // Forward and backward for the convolution with the first ELU in place, and for nine more.
  const int64_t layer = 28 * 28 * 4000 * 4;
  const int64_t image =
      EstimatePlanMemory(HoldsMuchAndComputesLittle(), {.training = true, .images = 1}).image_bytes;
  EXPECT_GE(image, 20 * layer);
  EXPECT_LE(image, 20 * layer + 200000);
}

TEST(PlanMemory, NeverOverflows) {
  std::string layers;
  for (int i = 0; i < 900; ++i) layers += "layers { activation { activation: ACTIVATION_ELU } } ";
  const Graph graph = GraphOf(
      layers +
          "layers { max_pool { size: 16000 } } layers { flatten {} } layers { dense { units: 2 } }",
      16000);
  const PlanMemory memory =
      EstimatePlanMemory(graph, {.training = true, .images = int64_t{1} << 40});
  EXPECT_EQ(memory.workspace_bytes, int64_t{1} << 62);
  EXPECT_GT(memory.image_bytes, int64_t{1} << 40);
}

TEST(MicroBatchImages, IsOneWhereAnImageFillsAWorkspace) {
  EXPECT_EQ(MicroBatchImages(HoldsMuchAndComputesLittle(), 400), 1);
}

// By hand, with room for three input channels: keras-mnist keeps 4 * 28*28*3 + 9 * 13*13*32
// (forward, backward, and a byte for which of a window won) + 2 * 9 * 5*5*64 (the second pool and
// dropout) + 184 bytes an image: 16.6 of them in 1408 KiB.
TEST(MicroBatchImages, OfPresetsKeepsAWorkspaceInACache) {
  const auto graph = [](const char* preset) { return *Graph::Create(*Preset(preset)); };
  EXPECT_EQ(EstimatePlanMemory(graph("keras-mnist"), {.training = true, .images = 1}).image_bytes,
            4 * 28 * 28 * 3 + 9 * 13 * 13 * 32 + 2 * 9 * 5 * 5 * 64 + 184);
  EXPECT_EQ(MicroBatchImages(graph("keras-mnist"), 1000), 16);
  EXPECT_EQ(MicroBatchImages(graph("keras-mnist"), 1 << 20), 16);
  // 356 KB an image. Also by FLOP: 28.9 million an image, two at a time by Winograd.
  EXPECT_EQ(MicroBatchImages(graph("classic-cifar10"), 1 << 20), 4);
  // Its first layer keeps copies with the zeros around them.
  EXPECT_EQ(MicroBatchImages(graph("lenet5"), 1 << 20), 18);
}

// 64 x 64 x 32 floats, forward and backward, in each of two layers: 2 MB an image.
TEST(MicroBatchImages, IsAHandfulWhereACacheHoldsNone) {
  const Graph graph = GraphOf(
      "layers { conv { filters: 32 kernel: 1 padding: PADDING_SAME } } layers { conv { filters: 32 "
      "kernel: 1 } } layers { max_pool { size: 64 } } layers { flatten {} } layers { dense { "
      "units: 2 } }",
      64, 3);
  EXPECT_EQ(MicroBatchImages(graph, 1 << 20), 4);
}

}  // namespace
}  // namespace convd
