#include "tests/core/nn/reference_forward.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "core/nn/network_text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "onnx/onnx_pb.h"

namespace convd {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::Pointwise;

Graph Build(const std::string& text) {
  absl::StatusOr<v1::Network> network = ParseNetwork(text, "test");
  EXPECT_TRUE(network.ok()) << network.status();
  absl::StatusOr<Graph> graph = Graph::Create(*network);
  EXPECT_TRUE(graph.ok()) << graph.status();
  return *std::move(graph);
}

// Worked out by hand: image 1 2 / 3 4, kernel 10 1 / 5 2, bias 1, ReLU; then two units.
TEST(ReferenceForwardTest, AHandWorkedNetwork) {
  const Graph graph = Build(R"pb(
    input { height: 2 width: 2 channels: 1 }
    preprocessing { scale: 1 }
    layers { conv { filters: 1 kernel: 2 padding: PADDING_SAME activation: ACTIVATION_RELU } }
    layers { flatten {} }
    layers { dense { units: 2 } })pb");
  const std::vector<double> parameters = {10, 1, 5, -2, 1,             // conv
                                          1,  0, 0, 1,  1, 0, 0, 0.5,  // dense, row by row
                                          0,  -1};
  const auto all = ReferenceActivations(graph, parameters, {1, 2, 3, -40});
  // SAME pads at the end: (1*10 + 2 + 15 + 80), (20 - 200), (30 - 40), (-400), each plus 1.
  EXPECT_THAT(all[1], ElementsAre(108, 0, 0, 0));
  EXPECT_THAT(all[2], ElementsAre(108, 0, 0, 0));
  EXPECT_THAT(all[3], ElementsAre(108, -1));
  EXPECT_DOUBLE_EQ(ReferenceCrossEntropy({0, std::log(3.0)}, 1), std::log(4.0 / 3));
}

TEST(ReferenceForwardTest, GroupsSeeOnlyTheirChannels) {
  const Graph graph = Build(R"pb(
    input { height: 1 width: 1 channels: 4 }
    preprocessing { scale: 1 }
    layers { conv { filters: 2 kernel: 1 groups: 2 no_bias: true } }
    layers { flatten {} })pb");
  const auto all = ReferenceActivations(graph, std::vector<double>{1, 10, 100, 1000}, {1, 2, 3, 4});
  EXPECT_THAT(all.back(), ElementsAre(21, 4300));
}

TEST(ReferenceForwardTest, DilationSpreadsTheTaps) {
  const Graph graph = Build(R"pb(
    input { height: 1 width: 5 channels: 1 }
    preprocessing { scale: 1 }
    layers {
      conv {
        filters: 1
        kernel: [ 1, 2 ]
        dilation: [ 1, 3 ]
        no_bias: true
      }
    }
    layers { flatten {} })pb");
  const auto all = ReferenceActivations(graph, std::vector<double>{1, 10}, {1, 2, 3, 4, 5});
  EXPECT_THAT(all.back(), ElementsAre(41, 52));
}

TEST(ReferenceForwardTest, DropoutMultipliesWhereAsked) {
  const Graph graph = Build(R"pb(
    input { height: 1 width: 2 channels: 1 }
    preprocessing { scale: 0.5 }
    layers { flatten {} }
    layers { dropout { rate: 0.5 } })pb");
  EXPECT_THAT(ReferenceActivations(graph, {}, {2, 6}).back(), ElementsAre(1, 3));
  const auto all = ReferenceActivations(
      graph, {}, {2, 6}, [](int layer, int64_t e) { return layer == 1 && e == 1 ? 2.0 : 0.0; });
  EXPECT_THAT(all.back(), ElementsAre(0, 6));
}

// The vectors that ONNX's own operators are tested with, from Debian's libonnx-testdata.
const char kVectors[] = "/usr/share/libonnx-testdata/data/node/";

template <typename Message>
Message Load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream bytes;
  bytes << file.rdbuf();
  Message message;
  EXPECT_TRUE(file.good() && message.ParseFromString(bytes.str()))
      << path << ": is Debian's libonnx-testdata installed?";
  return message;
}

std::vector<double> Values(const onnx::TensorProto& tensor) {
  std::vector<float> floats(tensor.float_data().begin(), tensor.float_data().end());
  if (floats.empty()) {
    floats.resize(tensor.raw_data().size() / sizeof(float));
    std::memcpy(floats.data(), tensor.raw_data().data(), floats.size() * sizeof(float));
  }
  return {floats.begin(), floats.end()};
}

// One image of {N, C, H, W} as height, width, channels.
std::vector<double> Image(const onnx::TensorProto& tensor, int64_t n) {
  const std::vector<double> nchw = Values(tensor);
  const int64_t c = tensor.dims(1), h = tensor.dims(2), w = tensor.dims(3);
  std::vector<double> image(c * h * w);
  for (int64_t i = 0; i < c * h * w; ++i) {
    image[i % (h * w) * c + i / (h * w)] = nchw[n * c * h * w + i];
  }
  return image;
}

class OnnxVectorTest : public ::testing::TestWithParam<const char*> {};

// The layer is made from the model's attributes and the expected output's size, without graph.cc.
TEST_P(OnnxVectorTest, GivesOnnxsOutput) {
  const std::string folder = kVectors + std::string(GetParam());
  const auto model = Load<onnx::ModelProto>(folder + "/model.onnx");
  const auto input = Load<onnx::TensorProto>(folder + "/test_data_set_0/input_0.pb");
  const auto output = Load<onnx::TensorProto>(folder + "/test_data_set_0/output_0.pb");
  const onnx::NodeProto& node = model.graph().node(0);
  ASSERT_EQ(input.dims_size(), 4);

  GraphLayer layer;
  layer.in = Shape{static_cast<int>(input.dims(2)), static_cast<int>(input.dims(3)),
                   static_cast<int>(input.dims(1))};
  layer.out = Shape{static_cast<int>(output.dims(2)), static_cast<int>(output.dims(3)),
                    static_cast<int>(output.dims(1))};
  std::vector<double> kernel;
  if (node.op_type() == "Conv") {
    layer.kind = LayerKind::kConv2D;
    kernel = Values(Load<onnx::TensorProto>(folder + "/test_data_set_0/input_1.pb"));
  } else {
    layer.kind = node.op_type() == "MaxPool" ? LayerKind::kMaxPool : LayerKind::kAveragePool;
  }
  Window& w = layer.window;
  std::string same;
  for (const onnx::AttributeProto& a : node.attribute()) {
    if (a.name() == "kernel_shape") {
      w.kernel_h = a.ints(0);
      w.kernel_w = a.ints(1);
    } else if (a.name() == "strides") {
      w.stride_h = a.ints(0);
      w.stride_w = a.ints(1);
    } else if (a.name() == "dilations") {
      w.dilation_h = a.ints(0);
      w.dilation_w = a.ints(1);
    } else if (a.name() == "pads") {
      w.pad_top = a.ints(0);
      w.pad_left = a.ints(1);
    } else if (a.name() == "auto_pad") {
      same = a.s();
    } else {
      FAIL() << "attribute " << a.name();
    }
  }
  if (!same.empty()) {
    ASSERT_TRUE(same == "SAME_UPPER" || same == "SAME_LOWER");
    const int total_h = (layer.out.height - 1) * w.stride_h + w.kernel_h - layer.in.height;
    const int total_w = (layer.out.width - 1) * w.stride_w + w.kernel_w - layer.in.width;
    const int lower = same == "SAME_LOWER" ? 1 : 0;
    w.pad_top = (total_h + lower) / 2;
    w.pad_left = (total_w + lower) / 2;
  }
  for (int64_t n = 0; n < input.dims(0); ++n) {
    EXPECT_THAT(ReferenceLayer(layer, kernel, {}, Image(input, n)),
                Pointwise(DoubleNear(2e-5), Image(output, n)));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Windows, OnnxVectorTest,
    ::testing::Values(
        "test_basic_conv_with_padding", "test_basic_conv_without_padding",
        "test_conv_with_strides_and_asymmetric_padding", "test_conv_with_strides_no_padding",
        "test_conv_with_strides_padding", "test_averagepool_2d_default", "test_averagepool_2d_pads",
        "test_averagepool_2d_precomputed_pads", "test_averagepool_2d_precomputed_same_upper",
        "test_averagepool_2d_precomputed_strides", "test_averagepool_2d_same_upper",
        "test_averagepool_2d_same_lower", "test_averagepool_2d_strides", "test_maxpool_2d_default",
        "test_maxpool_2d_dilations", "test_maxpool_2d_pads", "test_maxpool_2d_precomputed_pads",
        "test_maxpool_2d_precomputed_same_upper", "test_maxpool_2d_precomputed_strides",
        "test_maxpool_2d_same_upper", "test_maxpool_2d_strides"),
    [](const auto& info) { return std::string(info.param); });

struct ActivationVector {
  const char* folder;
  v1::Activation activation;
  float alpha;
};

class OnnxActivationTest : public ::testing::TestWithParam<ActivationVector> {};

TEST_P(OnnxActivationTest, GivesOnnxsOutput) {
  const std::string folder = kVectors + std::string(GetParam().folder) + "/test_data_set_0/";
  const std::vector<double> in = Values(Load<onnx::TensorProto>(folder + "input_0.pb"));
  const auto output = Load<onnx::TensorProto>(folder + "output_0.pb");
  // Softmax goes row by row, the others element by element.
  const int64_t row = output.dims(output.dims_size() - 1);
  GraphLayer layer;
  layer.kind = LayerKind::kActivation;
  layer.in = layer.out = Shape{1, 1, static_cast<int>(row)};
  layer.activation = GetParam().activation;
  layer.alpha = GetParam().alpha;
  const std::vector<double> expected = Values(output);
  ASSERT_EQ(in.size(), expected.size());
  for (size_t at = 0; at < in.size(); at += row) {
    EXPECT_THAT(ReferenceLayer(layer, {}, {}, absl::MakeSpan(in).subspan(at, row)),
                Pointwise(DoubleNear(1e-6), absl::MakeSpan(expected).subspan(at, row)));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Activations, OnnxActivationTest,
    ::testing::Values(ActivationVector{"test_relu", v1::ACTIVATION_RELU, 0},
                      ActivationVector{"test_leakyrelu", v1::ACTIVATION_LEAKY_RELU, 0.1f},
                      ActivationVector{"test_leakyrelu_default", v1::ACTIVATION_LEAKY_RELU, 0.01f},
                      ActivationVector{"test_elu", v1::ACTIVATION_ELU, 2},
                      ActivationVector{"test_elu_default", v1::ACTIVATION_ELU, 1},
                      ActivationVector{"test_sigmoid", v1::ACTIVATION_SIGMOID, 0},
                      ActivationVector{"test_tanh", v1::ACTIVATION_TANH, 0},
                      ActivationVector{"test_softmax_axis_2", v1::ACTIVATION_SOFTMAX, 0},
                      ActivationVector{"test_softmax_large_number", v1::ACTIVATION_SOFTMAX, 0}),
    [](const auto& info) { return std::string(info.param.folder); });

}  // namespace
}  // namespace convd
