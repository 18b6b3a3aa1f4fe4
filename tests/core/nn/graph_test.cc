#include "core/nn/graph.h"

#include <algorithm>
#include <string>

#include "core/nn/network_text.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"

namespace convd {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<Graph> Build(const std::string& text) {
  absl::StatusOr<v1::Network> network = ParseNetwork(text, "test");
  if (!network.ok()) return network.status();
  return Graph::Create(*network);
}

// Layers on an image of height x width x channels, ended so that the network is valid.
std::string On(int height, int width, int channels, const std::string& layers) {
  return "input { height: " + std::to_string(height) + " width: " + std::to_string(width) +
         " channels: " + std::to_string(channels) + " }\n" + layers +
         " layers { flatten {} } layers { dense { units: 10 } }";
}

TEST(GraphTest, WorksOutEveryDefault) {
  absl::StatusOr<Graph> graph = Build(R"pb(
    input { height: 6 width: 8 channels: 3 }
    layers { conv { filters: 4 kernel: 3 activation: ACTIVATION_LEAKY_RELU } }
    layers { activation { activation: ACTIVATION_ELU } }
    layers { average_pool {} }
    layers { flatten {} }
    layers { dense { units: 5 activation: ACTIVATION_SOFTMAX } })pb");
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->name(), "sequential");
  EXPECT_EQ(graph->input(), (Shape{6, 8, 3}));
  EXPECT_EQ(graph->scale(), 1.0f / 255);
  EXPECT_EQ(graph->classes(), 5);
  ASSERT_EQ(graph->layers().size(), 5u);

  const GraphLayer& conv = graph->layers()[0];
  EXPECT_EQ(conv.name, "conv2d");
  EXPECT_EQ(conv.kind, LayerKind::kConv2D);
  EXPECT_EQ(conv.out, (Shape{4, 6, 4}));
  EXPECT_EQ(conv.groups, 1);
  EXPECT_EQ(conv.window.kernel_h, 3);
  EXPECT_EQ(conv.window.kernel_w, 3);
  EXPECT_EQ(conv.window.stride_h, 1);
  EXPECT_EQ(conv.window.dilation_w, 1);
  EXPECT_EQ(
      conv.window.pad_top + conv.window.pad_left + conv.window.pad_bottom + conv.window.pad_right,
      0);
  EXPECT_EQ(conv.activation, v1::ACTIVATION_LEAKY_RELU);
  EXPECT_EQ(conv.alpha, 0.3f);
  EXPECT_EQ(conv.parameter_count, 4 * 3 * 3 * 3 + 4);

  EXPECT_EQ(graph->layers()[1].alpha, 1.0f);
  EXPECT_EQ(graph->layers()[2].window.kernel_h, 2);
  EXPECT_EQ(graph->layers()[2].window.stride_w, 2);
  EXPECT_EQ(graph->layers()[2].out, (Shape{2, 3, 4}));
  EXPECT_EQ(graph->layers()[3].out, (Shape{1, 1, 24}));
  EXPECT_EQ(graph->layers()[4].out, (Shape{1, 1, 5}));
  EXPECT_EQ(graph->layers()[4].parameter_count, 24 * 5 + 5);

  ASSERT_EQ(graph->parameters().size(), 4u);
  const Parameter& kernel = graph->parameters()[conv.kernel];
  EXPECT_EQ(kernel.name, "conv2d/kernel");
  EXPECT_THAT(kernel.shape, ElementsAre(4, 3, 3, 3));
  EXPECT_EQ(kernel.fan_in, 27);   // 3 * 3 * 3
  EXPECT_EQ(kernel.fan_out, 36);  // 3 * 3 * 4
  EXPECT_EQ(kernel.offset, 0);
  const Parameter& bias = graph->parameters()[conv.bias];
  EXPECT_EQ(bias.name, "conv2d/bias");
  EXPECT_THAT(bias.shape, ElementsAre(4));
  EXPECT_EQ(bias.fan_in, 0);
  EXPECT_EQ(bias.fan_out, 0);
  EXPECT_EQ(bias.offset, 108);
  const Parameter& dense = graph->parameters()[2];
  EXPECT_EQ(dense.name, "dense/kernel");
  EXPECT_THAT(dense.shape, ElementsAre(24, 5));
  EXPECT_EQ(dense.fan_in, 24);
  EXPECT_EQ(dense.fan_out, 5);
  EXPECT_EQ(dense.offset, 112);
  EXPECT_EQ(graph->parameters()[3].offset, 232);
  EXPECT_EQ(graph->parameter_count(), 237);
}

TEST(GraphTest, ItsOwnNetworkGivesTheSameGraph) {
  absl::StatusOr<v1::Network> network = ParseNetwork(R"pb(
                                                       input { height: 9 width: 9 channels: 4 }
                                                       layers {
                                                         conv {
                                                           filters: 8
                                                           kernel: [ 3, 2 ]
                                                           groups: 2
                                                           padding: PADDING_SAME
                                                           no_bias: true
                                                         }
                                                       }
                                                       layers { max_pool { size: 3 } }
                                                       layers { flatten {} }
                                                       layers { dropout { rate: 0.1 } }
                                                       layers { dense { units: 2 } })pb",
                                                     "test");
  ASSERT_TRUE(network.ok()) << network.status();
  absl::StatusOr<Graph> once = Graph::Create(*network);
  ASSERT_TRUE(once.ok()) << once.status();
  absl::StatusOr<Graph> twice = Graph::Create(once->network());
  ASSERT_TRUE(twice.ok()) << twice.status();
  EXPECT_TRUE(
      google::protobuf::util::MessageDifferencer::Equals(once->network(), twice->network()));
  EXPECT_EQ(once->parameter_count(), twice->parameter_count());
  EXPECT_EQ(once->network().layers(1).max_pool().stride(1), 3);
  EXPECT_EQ(once->network().layers(2).inputs(0), "max_pooling2d");
  EXPECT_EQ(once->network().loss(), v1::LOSS_SOFTMAX_CROSS_ENTROPY);
}

TEST(GraphTest, LayersAreNumberedAsKerasDoesAndPassOverNamesThatAreTaken) {
  absl::StatusOr<Graph> graph = Build(On(16, 16, 1, R"pb(
    layers { conv { filters: 2 kernel: 1 } }
    layers {
      name: "mine"
      conv { filters: 2 kernel: 1 }
    }
    layers { conv { filters: 2 kernel: 1 } }
    layers {
      name: "conv2d_2"
      conv { filters: 2 kernel: 1 }
    }
    layers { conv { filters: 2 kernel: 1 } }
    layers { max_pool {} }
    layers { max_pool {} }
    layers { average_pool {} }
    layers { activation { activation: ACTIVATION_RELU } }
    layers { dropout {} })pb"));
  ASSERT_TRUE(graph.ok()) << graph.status();
  std::vector<std::string> names;
  for (const GraphLayer& layer : graph->layers()) names.push_back(layer.name);
  EXPECT_THAT(names, ElementsAre("conv2d", "mine", "conv2d_1", "conv2d_2", "conv2d_3",
                                 "max_pooling2d", "max_pooling2d_1", "average_pooling2d",
                                 "activation", "dropout", "flatten", "dense"));
}

TEST(GraphTest, GroupsDivideTheKernel) {
  absl::StatusOr<Graph> graph =
      Build(On(5, 5, 6, "layers { conv { filters: 9 kernel: [2, 3] groups: 3 no_bias: true } }"));
  ASSERT_TRUE(graph.ok()) << graph.status();
  const Parameter& kernel = graph->parameters()[0];
  EXPECT_THAT(kernel.shape, ElementsAre(9, 2, 2, 3));
  EXPECT_EQ(kernel.elements, 108);
  EXPECT_EQ(kernel.fan_in, 2 * 3 * 2);
  EXPECT_EQ(kernel.fan_out, 2 * 3 * 3);
  EXPECT_EQ(graph->layers()[0].bias, -1);
  EXPECT_EQ(graph->layers()[0].out, (Shape{4, 3, 9}));
  EXPECT_EQ(graph->parameters()[1].offset, 108);
}

// TensorFlow's documentation of tf.nn's SAME padding writes it so.
void TensorFlowSame(int in, int kernel, int stride, int* out, int* begin, int* end) {
  *out = (in + stride - 1) / stride;
  const int total =
      in % stride == 0 ? std::max(kernel - stride, 0) : std::max(kernel - in % stride, 0);
  *begin = total / 2;
  *end = total - *begin;
}

TEST(GraphTest, SamePaddingIsTensorFlows) {
  for (int in = 1; in <= 12; ++in) {
    for (int kernel = 1; kernel <= 5; ++kernel) {
      for (int stride = 1; stride <= 4; ++stride) {
        for (int dilation = 1; dilation <= 3; ++dilation) {
          // Height as asked, width another case at the same time.
          const int width = in + 3;
          absl::StatusOr<Graph> graph =
              Build(On(in, width, 1,
                       "layers { conv { filters: 1 padding: PADDING_SAME kernel: [" +
                           std::to_string(kernel) + ", 3] stride: [" + std::to_string(stride) +
                           ", 2] dilation: [" + std::to_string(dilation) + ", 1] } }"));
          ASSERT_TRUE(graph.ok()) << graph.status();
          const Window& w = graph->layers()[0].window;
          int out, begin, end;
          TensorFlowSame(in, (kernel - 1) * dilation + 1, stride, &out, &begin, &end);
          EXPECT_EQ(graph->layers()[0].out.height, out);
          EXPECT_EQ(w.pad_top, begin);
          EXPECT_EQ(w.pad_bottom, end);
          TensorFlowSame(width, 3, 2, &out, &begin, &end);
          EXPECT_EQ(graph->layers()[0].out.width, out);
          EXPECT_EQ(w.pad_left, begin);
          EXPECT_EQ(w.pad_right, end);
        }
      }
    }
  }
}

// A 4-wide kernel at stride 1 pads 1 before and 2 after; pools pad as convolutions do.
TEST(GraphTest, TheOddRowOfPaddingComesLast) {
  absl::StatusOr<Graph> graph = Build(
      On(7, 8, 1, "layers { max_pool { size: [4, 3] stride: [1, 2] padding: PADDING_SAME } }"));
  ASSERT_TRUE(graph.ok()) << graph.status();
  const Window& w = graph->layers()[0].window;
  EXPECT_EQ(w.pad_top, 1);
  EXPECT_EQ(w.pad_bottom, 2);
  EXPECT_EQ(w.pad_left, 0);
  EXPECT_EQ(w.pad_right, 1);
  EXPECT_EQ(graph->layers()[0].out, (Shape{7, 4, 1}));
}

TEST(GraphTest, ValidPaddingDropsWhatDoesNotFit) {
  absl::StatusOr<Graph> graph = Build(
      On(11, 8, 1, "layers { conv { filters: 2 kernel: 3 stride: [3, 2] dilation: [2, 1] } }"));
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->layers()[0].out, (Shape{3, 3, 2}));  // (11 - 5) / 3 + 1, (8 - 3) / 2 + 1
}

struct BadNetwork {
  const char* name;
  std::string text;
  const char* where;  // what the message must name
  const char* found;
  const char* wanted;
};

class BadNetworkTest : public ::testing::TestWithParam<BadNetwork> {};

TEST_P(BadNetworkTest, IsRefusedByName) {
  const BadNetwork& bad = GetParam();
  absl::StatusOr<Graph> graph = Build(bad.text);
  ASSERT_FALSE(graph.ok());
  EXPECT_EQ(graph.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(graph.status().message()),
              AllOf(HasSubstr(bad.where), HasSubstr(bad.found), HasSubstr(bad.wanted)));
}

const char kConv[] = "layers { conv { filters: 8 kernel: 3 } }";

INSTANTIATE_TEST_SUITE_P(
    Shapes, BadNetworkTest,
    ::testing::Values(
        BadNetwork{"KernelLargerThanInput",
                   On(8, 8, 1, std::string(kConv) + "layers { conv { filters: 4 kernel: 7 } }"),
                   "layer \"conv2d_1\": conv.kernel:", "got 7 x 7 on an input of 6 x 6 x 8",
                   "want at most 6 x 6"},
        BadNetwork{"DilatedKernelLargerThanInput",
                   On(8, 8, 1, "layers { conv { filters: 4 kernel: 5 dilation: [1, 2] } }"),
                   "layer \"conv2d\": conv.kernel:", "5 x 9 with its dilation", "at most 8 x 8"},
        BadNetwork{"PoolLargerThanInput", On(4, 2, 1, "layers { max_pool { size: 3 } }"),
                   "layer \"max_pooling2d\": max_pool.size:", "got 3 x 3 on an input of 4 x 2 x 1",
                   "want at most 4 x 2"},
        BadNetwork{"GroupsDoNotDivideChannels",
                   On(8, 8, 6, "layers { conv { filters: 8 kernel: 3 groups: 4 } }"),
                   "layer \"conv2d\": conv.groups:", "got 4", "the input's 6 channels"},
        BadNetwork{"GroupsDoNotDivideFilters",
                   On(8, 8, 6, "layers { conv { filters: 8 kernel: 3 groups: 3 } }"),
                   "layer \"conv2d\": conv.groups:", "got 3", "the 8 filters"},
        BadNetwork{"DenseOnAnImage",
                   "input { height: 4 width: 4 channels: 2 } layers { dense { units: 10 } }",
                   "layer \"dense\"", "got an input of 4 x 4 x 2", "add a flatten layer before"},
        BadNetwork{"DenseOnOneByOne",
                   "input { height: 4 width: 4 channels: 2 } layers { average_pool { size: 4 } } "
                   "layers { dense { units: 10 } }",
                   "layer \"dense\"", "got an input of 1 x 1 x 2", "add a flatten layer before"},
        BadNetwork{"ConvAfterFlatten",
                   On(4, 4, 2, "layers { flatten {} } layers { conv { filters: 2 kernel: 1 } }"),
                   "layer \"conv2d\"", "got a vector of 32", "before the flatten"},
        BadNetwork{"PoolAfterDense",
                   On(4, 4, 2,
                      "layers { flatten {} } layers { dense { units: 9 } } "
                      "layers { average_pool {} }"),
                   "layer \"average_pooling2d\"", "got a vector of 9", "want height x width"},
        BadNetwork{"EndsInAnImage", std::string("input { height: 4 width: 4 channels: 2 }") + kConv,
                   "layer \"conv2d\"", "ends in 2 x 2 x 8", "vector of class scores"},
        BadNetwork{"OneClass",
                   "input { height: 1 width: 4 channels: 2 } layers { flatten {} } "
                   "layers { dense { units: 1 } }",
                   "layer \"dense\"", "ends in 1 class", "want 2 to 65536"},
        BadNetwork{"MoreClassesThanAnyoneHas",
                   "input { height: 1 width: 1 channels: 2 } layers { flatten {} } "
                   "layers { dense { units: 65537 } }",
                   "layer \"dense\"", "ends in 65537 class", "want 2 to 65536"}),
    [](const auto& info) { return info.param.name; });

// Figures that overflow int32 or int64, or would allocate without end.
INSTANTIATE_TEST_SUITE_P(
    Sizes, BadNetworkTest,
    ::testing::Values(
        BadNetwork{"InputElements", On(65536, 65536, 65536, ""),
                   "network: input:", "got 65536 x 65536 x 65536", "at most 268435456 elements"},
        BadNetwork{"OutputElements",
                   On(16384, 16384, 1, "layers { conv { filters: 268435456 kernel: 1 } }"),
                   "layer \"conv2d\"", "16384 x 16384 x 268435456", "at most 268435456 elements"},
        BadNetwork{"MultiplyAdds",
                   On(1024, 1024, 256,
                      "layers { conv { filters: 256 kernel: 1024 "
                      "padding: PADDING_SAME } }"),
                   "layer \"conv2d\"", "multiply-adds", "at most 68719476736"},
        BadNetwork{"PoolWork",
                   On(8192, 8192, 1,
                      "layers { max_pool { size: 8192 stride: 1 "
                      "padding: PADDING_SAME } }"),
                   "layer \"max_pooling2d\"", "multiply-adds", "at most 68719476736"},
        BadNetwork{"DilatedExtent",
                   On(8, 8, 1,
                      "layers { conv { filters: 1 kernel: 65536 dilation: 65536 "
                      "padding: PADDING_SAME } }"),
                   "layer \"conv2d\": conv.kernel:", "4294901761", "at most 65536 x 65536"},
        BadNetwork{"ConvParameters",
                   On(1, 1, 65536, "layers { conv { filters: 65536 kernel: 1 } }"),
                   "layer \"conv2d\"", "got 4294967296 elements in conv2d/kernel",
                   "at most 268435456 parameters"},
        BadNetwork{"ParametersAddUp",
                   "input { height: 1 width: 1 channels: 4 } layers { flatten {} } "
                   "layers { dense { units: 16384 no_bias: true } }"
                   "layers { dense { units: 16380 no_bias: true } }"
                   "layers { dense { units: 2 } }",
                   "layer \"dense_2\"", "got 32760 elements in dense_2/kernel after 268435456",
                   "at most 268435456 parameters"}),
    [](const auto& info) { return info.param.name; });

TEST(GraphTest, TheLargestNetworkAllowedIsAllowed) {
  absl::StatusOr<Graph> graph = Build(R"pb(
    input { height: 1 width: 1 channels: 16384 }
    layers { flatten {} }
    layers { dense { units: 16382 no_bias: true } }
    layers { dense { units: 2 no_bias: true } })pb");
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->parameter_count(), 16384LL * 16382 + 16382 * 2);
}

}  // namespace
}  // namespace convd
