#include "core/onnx/onnx_model.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/nn/network_text.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "onnx/checker.h"
#include "onnx/onnx_pb.h"
#include "onnx/shape_inference/implementation.h"
#include "onnx/version_converter/convert.h"
#include "tests/core/nn/random_parameters.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Graph Build(const std::string& text) {
  absl::StatusOr<v1::Network> network = ParseNetwork(text, "test");
  EXPECT_TRUE(network.ok()) << network.status();
  absl::StatusOr<Graph> graph = Graph::Create(*network);
  EXPECT_TRUE(graph.ok()) << graph.status();
  return *std::move(graph);
}

Graph Example(const std::string& name) {
  std::ifstream file(std::string(CONVD_SOURCE_DIR) + "/docs/networks/" + name + ".textproto");
  std::stringstream text;
  text << file.rdbuf();
  return Build(text.str());
}

onnx::ModelProto Write(const Graph& graph, const std::vector<float>& parameters,
                       const std::vector<std::string>& labels = {},
                       const OnnxOptions& options = {}) {
  absl::StatusOr<std::string> bytes = WriteOnnx(graph, parameters, labels, options);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  onnx::ModelProto model;
  EXPECT_TRUE(model.ParseFromString(*bytes));
  return model;
}

std::vector<std::string> Ops(const onnx::ModelProto& model) {
  std::vector<std::string> ops;
  for (const onnx::NodeProto& node : model.graph().node()) ops.push_back(node.op_type());
  return ops;
}

std::vector<OnnxOptions> AllForms() {
  std::vector<OnnxOptions> forms;
  for (int opset = 13; opset <= 17; ++opset) {
    for (OnnxEntry entry : {OnnxEntry::kUint8Nhwc, OnnxEntry::kUint8Nchw, OnnxEntry::kFloat32Nhwc,
                            OnnxEntry::kFloat32Nchw}) {
      forms.push_back({opset, entry});
    }
  }
  return forms;
}

const onnx::AttributeProto* Attribute(const onnx::NodeProto& node, const std::string& name) {
  for (const onnx::AttributeProto& a : node.attribute()) {
    if (a.name() == name) return &a;
  }
  return nullptr;
}

const onnx::TensorProto* Initializer(const onnx::ModelProto& model, const std::string& name) {
  for (const onnx::TensorProto& t : model.graph().initializer()) {
    if (t.name() == name) return &t;
  }
  return nullptr;
}

std::vector<float> Floats(const onnx::TensorProto& tensor) {
  std::vector<float> floats(tensor.raw_data().size() / sizeof(float));
  std::memcpy(floats.data(), tensor.raw_data().data(), floats.size() * sizeof(float));
  return floats;
}

// A version's card holds the network as text; the graph made of it must read the file that the
// graph of the training job wrote, scale and all.
TEST(OnnxModelTest, AGraphOutOfACardReadsTheFile) {
  for (const char* scale : {"0.1", "0.33333334", "1e-38", "1.1754942e-38", "16777217", "3.4e38"}) {
    const Graph graph = Build(std::string("preprocessing { scale: ") + scale + R"pb(}
                                                                                    input { height: 2 width: 2 channels: 3 }
      layers { flatten {} }
      layers { activation { activation: ACTIVATION_ELU alpha: 0.7 } }
      layers { dense { units: 2 } })pb");
    const std::vector<float> parameters = RandomParameters(graph, 1);
    absl::StatusOr<std::string> bytes = WriteOnnx(graph, parameters, {});
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    std::string card;
    ASSERT_TRUE(google::protobuf::TextFormat::PrintToString(graph.network(), &card));
    const Graph again = Build(card);
    EXPECT_EQ(again.layers()[1].alpha, 0.7f);
    absl::StatusOr<std::vector<float>> back = ReadOnnxParameters(*bytes, again);
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, parameters);
  }
}

class ExampleTest : public ::testing::TestWithParam<const char*> {};

TEST_P(ExampleTest, ParametersComeBackBitForBit) {
  const Graph graph = Example(GetParam());
  std::vector<float> parameters = RandomParameters(graph, 1);
  // Signed zero, the smallest and the largest numbers have their own bits too.
  parameters[0] = -0.0f;
  parameters[1] = std::numeric_limits<float>::denorm_min();
  parameters[2] = std::numeric_limits<float>::lowest();
  parameters[parameters.size() - 20] = std::numeric_limits<float>::max();
  absl::StatusOr<std::string> bytes = WriteOnnx(graph, parameters, {});
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  absl::StatusOr<std::vector<float>> back = ReadOnnxParameters(*bytes, graph);
  ASSERT_TRUE(back.ok()) << back.status();
  ASSERT_EQ(back->size(), parameters.size());
  EXPECT_EQ(std::memcmp(back->data(), parameters.data(), parameters.size() * sizeof(float)), 0);
}

TEST_P(ExampleTest, TheSameModelIsTheSameBytes) {
  const Graph graph = Example(GetParam());
  const std::vector<float> parameters = RandomParameters(graph, 1);
  const std::vector<std::string> labels(graph.classes(), "a");
  absl::StatusOr<std::string> once = WriteOnnx(graph, parameters, labels);
  absl::StatusOr<std::string> twice = WriteOnnx(graph, parameters, labels);
  ASSERT_TRUE(once.ok() && twice.ok());
  EXPECT_EQ(*once, *twice);
  // A graph made of the resolved network is the same graph.
  absl::StatusOr<Graph> again = Graph::Create(graph.network());
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*WriteOnnx(*again, parameters, labels), *once);
}

TEST_P(ExampleTest, OnnxsCheckerFindsNoFaultAtAnyOpsetAndEntry) {
  const Graph graph = Example(GetParam());
  const std::vector<float> parameters = RandomParameters(graph, 1);
  for (const OnnxOptions& options : AllForms()) {
    onnx::ModelProto model = Write(graph, parameters, {}, options);
    EXPECT_NO_THROW({
      onnx::checker::check_model(model);
      const onnx::ShapeInferenceOptions strict(/*check_type=*/true, /*strict_mode=*/1);
      onnx::shape_inference::InferShapes(model, onnx::OpSchemaRegistry::Instance(), strict);
    }) << options.opset
       << " " << static_cast<int>(options.entry);
  }
}

TEST_P(ExampleTest, EveryFormHoldsTheSameParameters) {
  const Graph graph = Example(GetParam());
  const std::vector<float> parameters = RandomParameters(graph, 1);
  for (const OnnxOptions& options : AllForms()) {
    const auto bytes = WriteOnnx(graph, parameters, {}, options);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    const auto back = ReadOnnxParameters(*bytes, graph);
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, parameters);
  }
}

// ONNX's own converter writes the file anew, as other programs do.
TEST_P(ExampleTest, WhatOnnxsConverterWroteIsReadUpToOpset17) {
  const Graph graph = Example(GetParam());
  const std::vector<float> parameters = RandomParameters(graph, 1);
  const onnx::ModelProto model = Write(graph, parameters);
  for (int opset = 14; opset <= 17; ++opset) {
    const onnx::ModelProto converted = onnx::version_conversion::ConvertVersion(model, opset);
    const auto back = ReadOnnxParameters(converted.SerializeAsString(), graph);
    ASSERT_TRUE(back.ok()) << opset << ": " << back.status();
    EXPECT_EQ(*back, parameters);
    // And the operators had the same form there all along.
    const onnx::ModelProto written = Write(graph, parameters, {}, {.opset = opset});
    ASSERT_EQ(converted.graph().node_size(), written.graph().node_size());
    for (int i = 0; i < written.graph().node_size(); ++i) {
      EXPECT_EQ(converted.graph().node(i).op_type(), written.graph().node(i).op_type());
      EXPECT_EQ(converted.graph().node(i).attribute_size(),
                written.graph().node(i).attribute_size());
    }
  }
}

// ONNX works the shapes out again from the nodes; each layer's output must be what the graph says.
TEST_P(ExampleTest, OnnxInfersTheGraphsShapes) {
  const Graph graph = Example(GetParam());
  onnx::ModelProto model = Write(graph, RandomParameters(graph, 1));
  const onnx::ShapeInferenceOptions strict(/*check_type=*/true, /*strict_mode=*/1);
  ASSERT_NO_THROW(
      onnx::shape_inference::InferShapes(model, onnx::OpSchemaRegistry::Instance(), strict));
  std::map<std::string, std::vector<int64_t>> shapes;
  auto add = [&](const onnx::ValueInfoProto& value) {
    for (const auto& dim : value.type().tensor_type().shape().dim()) {
      if (!dim.has_dim_param()) shapes[value.name()].push_back(dim.dim_value());
    }
  };
  for (const onnx::ValueInfoProto& value : model.graph().value_info()) add(value);
  add(model.graph().output(0));
  bool flat = false;
  for (const GraphLayer& layer : graph.layers()) {
    flat = flat || layer.kind == LayerKind::kFlatten;
    if (layer.kind == LayerKind::kDropout) continue;
    const bool last = &layer == &graph.layers().back();
    const std::string name = last ? "probabilities" : layer.name + "/output";
    ASSERT_EQ(shapes.count(name), 1u) << name;
    if (flat) {
      EXPECT_THAT(shapes[name], ElementsAre(layer.out.channels)) << name;
    } else {
      EXPECT_THAT(shapes[name], ElementsAre(layer.out.channels, layer.out.height, layer.out.width))
          << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, ExampleTest,
                         ::testing::Values("keras-mnist", "classic-cifar10", "lenet5",
                                           "every-layer"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(WriteOnnxTest, KerasMnistIsThePlainChainThatOtherToolsKnow) {
  const Graph graph = Example("keras-mnist");
  const onnx::ModelProto model = Write(graph, RandomParameters(graph, 1));
  EXPECT_EQ(model.ir_version(), 7);
  EXPECT_EQ(model.producer_name(), "convd");
  ASSERT_EQ(model.opset_import_size(), 1);
  EXPECT_EQ(model.opset_import(0).version(), 13);
  EXPECT_EQ(model.graph().name(), "keras-mnist");
  EXPECT_THAT(Ops(model), ElementsAre("Cast", "Mul", "Transpose", "Conv", "Relu", "MaxPool", "Conv",
                                      "Relu", "MaxPool", "Flatten", "Gemm", "Softmax"));
  ASSERT_EQ(model.graph().input_size(), 1);
  const auto& input = model.graph().input(0);
  EXPECT_EQ(input.name(), "images");
  EXPECT_EQ(input.type().tensor_type().elem_type(), onnx::TensorProto::UINT8);
  EXPECT_EQ(input.type().tensor_type().shape().dim(0).dim_param(), "N");
  EXPECT_EQ(input.type().tensor_type().shape().dim(1).dim_value(), 28);
  EXPECT_EQ(input.type().tensor_type().shape().dim(3).dim_value(), 1);
  ASSERT_EQ(model.graph().output_size(), 1);
  EXPECT_EQ(model.graph().output(0).name(), "probabilities");
  EXPECT_EQ(model.graph().output(0).type().tensor_type().shape().dim(1).dim_value(), 10);
  ASSERT_NE(Initializer(model, "preprocessing/scale"), nullptr);
  EXPECT_THAT(Floats(*Initializer(model, "preprocessing/scale")), ElementsAre(1.0f / 255));
  EXPECT_EQ(model.graph().initializer_size(), 7);
  EXPECT_EQ(model.metadata_props_size(), 0);
}

TEST(WriteOnnxTest, EachEntryTakesWhatItIsCalled) {
  const Graph graph = Build(R"pb(
    input { height: 2 width: 3 channels: 4 }
    layers { flatten {} }
    layers { dense { units: 5 } })pb");
  struct Expected {
    OnnxEntry entry;
    int type;
    std::vector<int64_t> dims;
    std::vector<std::string> ops;
  };
  for (const Expected& want :
       std::vector<Expected>{{OnnxEntry::kUint8Nhwc,
                              onnx::TensorProto::UINT8,
                              {2, 3, 4},
                              {"Cast", "Mul", "Transpose", "Flatten", "Gemm", "Softmax"}},
                             {OnnxEntry::kUint8Nchw,
                              onnx::TensorProto::UINT8,
                              {4, 2, 3},
                              {"Cast", "Mul", "Flatten", "Gemm", "Softmax"}},
                             {OnnxEntry::kFloat32Nhwc,
                              onnx::TensorProto::FLOAT,
                              {2, 3, 4},
                              {"Mul", "Transpose", "Flatten", "Gemm", "Softmax"}},
                             {OnnxEntry::kFloat32Nchw,
                              onnx::TensorProto::FLOAT,
                              {4, 2, 3},
                              {"Mul", "Flatten", "Gemm", "Softmax"}}}) {
    const onnx::ModelProto model =
        Write(graph, RandomParameters(graph, 1), {}, {.entry = want.entry});
    ASSERT_EQ(model.graph().input_size(), 1);
    const auto& type = model.graph().input(0).type().tensor_type();
    EXPECT_EQ(type.elem_type(), want.type);
    ASSERT_EQ(type.shape().dim_size(), 4);
    EXPECT_EQ(type.shape().dim(0).dim_param(), "N");
    for (int i = 0; i < 3; ++i) EXPECT_EQ(type.shape().dim(i + 1).dim_value(), want.dims[i]);
    EXPECT_EQ(Ops(model), want.ops);
  }
}

// https://github.com/onnx/onnx/blob/main/docs/Versioning.md has the table.
TEST(WriteOnnxTest, TheIrVersionIsTheOpsets) {
  const Graph graph = Build("input { height: 1 width: 1 channels: 2 } layers { flatten {} }");
  for (const auto& [opset, ir] : std::map<int, int>{{13, 7}, {14, 7}, {15, 8}, {16, 8}, {17, 8}}) {
    const onnx::ModelProto model = Write(graph, {}, {}, {.opset = opset});
    EXPECT_EQ(model.opset_import(0).version(), opset);
    EXPECT_EQ(model.ir_version(), ir) << opset;
  }
}

TEST(WriteOnnxTest, WindowsCarryTheirPadding) {
  const Graph graph = Build(R"pb(
    input { height: 7 width: 8 channels: 4 }
    layers {
      conv {
        filters: 6
        kernel: [ 4, 3 ]
        stride: [ 1, 2 ]
        dilation: [ 1, 2 ]
        groups: 2
        padding: PADDING_SAME
        no_bias: true
        activation: ACTIVATION_ELU
      }
    }
    layers { average_pool { size: 2 stride: 3 padding: PADDING_SAME } }
    layers { flatten {} }
    layers { dense { units: 3 no_bias: true } })pb");
  const onnx::ModelProto model = Write(graph, RandomParameters(graph, 1));
  EXPECT_THAT(Ops(model), ElementsAre("Cast", "Mul", "Transpose", "Conv", "Elu", "AveragePool",
                                      "Flatten", "Gemm", "Softmax"));
  const onnx::NodeProto& conv = model.graph().node(3);
  EXPECT_EQ(conv.input_size(), 2);
  EXPECT_THAT(Attribute(conv, "kernel_shape")->ints(), ElementsAre(4, 3));
  EXPECT_THAT(Attribute(conv, "strides")->ints(), ElementsAre(1, 2));
  EXPECT_THAT(Attribute(conv, "dilations")->ints(), ElementsAre(1, 2));
  // Height: 3 in all, 1 before. Width: 5-wide taps at stride 2 on 8: (4 - 1) * 2 + 5 - 8 = 3.
  EXPECT_THAT(Attribute(conv, "pads")->ints(), ElementsAre(1, 1, 2, 2));
  EXPECT_EQ(Attribute(conv, "group")->i(), 2);
  EXPECT_EQ(Attribute(model.graph().node(4), "alpha")->f(), 1.0f);
  const onnx::NodeProto& pool = model.graph().node(5);
  EXPECT_EQ(Attribute(pool, "count_include_pad")->i(), 0);
  EXPECT_THAT(Attribute(pool, "pads")->ints(), ElementsAre(0, 0, 1, 1));  // 7 and 4 up to 8 and 5
  EXPECT_EQ(model.graph().node(7).input_size(), 2);
  EXPECT_EQ(Attribute(model.graph().node(8), "axis")->i(), 1);
}

// 1 x 2 x 2 in: canonical rows (x, c) = 00 01 10 11 stand as (c, x) in the file.
TEST(WriteOnnxTest, DenseRowsAfterFlattenStandInOnnxsOrder) {
  const Graph graph = Build(R"pb(
    input { height: 1 width: 2 channels: 2 }
    layers { flatten {} }
    layers { dropout { rate: 0.5 } }
    layers { flatten {} }
    layers { activation { activation: ACTIVATION_TANH } }
    layers { dense { units: 2 no_bias: true } }
    layers { dense { units: 2 } })pb");
  const std::vector<float> parameters = {0, 1, 10, 11, 20, 21, 30, 31, 5, 6, 7, 8, 0, 0};
  const onnx::ModelProto model = Write(graph, parameters);
  EXPECT_THAT(Floats(*Initializer(model, "dense/kernel")),
              ElementsAre(0, 1, 20, 21, 10, 11, 30, 31));
  EXPECT_THAT(Floats(*Initializer(model, "dense_1/kernel")), ElementsAre(5, 6, 7, 8));
  absl::StatusOr<std::vector<float>> back =
      ReadOnnxParameters(*WriteOnnx(graph, parameters, {}), graph);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, parameters);
}

TEST(WriteOnnxTest, ScoresWithoutADenseLayerAreTransposedBack) {
  const Graph image = Build(R"pb(
    input { height: 2 width: 1 channels: 2 }
    layers { flatten {} })pb");
  EXPECT_THAT(Ops(Write(image, {})),
              ElementsAre("Cast", "Mul", "Transpose", "Transpose", "Flatten", "Softmax"));
  const Graph global = Build(R"pb(
    input { height: 2 width: 2 channels: 4 }
    layers { average_pool { size: 2 } }
    layers { flatten {} }
    layers { activation { activation: ACTIVATION_SOFTMAX } })pb");
  EXPECT_THAT(Ops(Write(global, {})),
              ElementsAre("Cast", "Mul", "Transpose", "AveragePool", "Flatten", "Softmax"));
}

// Layers may be called what the file's own values are called.
TEST(WriteOnnxTest, LayerNamesNeverCollide) {
  const Graph graph = Build(R"pb(
    input { height: 3 width: 3 channels: 1 }
    layers {
      name: "images"
      conv { filters: 2 kernel: 1 activation: ACTIVATION_RELU }
    }
    layers {
      name: "preprocessing"
      conv { filters: 2 kernel: 1 }
    }
    layers {
      name: "postprocessing"
      flatten {}
    }
    layers {
      name: "probabilities"
      dense { units: 3 }
    })pb");
  EXPECT_NO_THROW(onnx::checker::check_model(Write(graph, RandomParameters(graph, 1))));
}

TEST(WriteOnnxTest, LabelsAreMetadata) {
  const Graph graph = Build("input { height: 1 width: 1 channels: 2 } layers { flatten {} }");
  const onnx::ModelProto model = Write(graph, {}, {"T-shirt \"top\"", "K\u00f6rper\n"});
  ASSERT_EQ(model.metadata_props_size(), 1);
  EXPECT_EQ(model.metadata_props(0).key(), "labels");
  EXPECT_EQ(model.metadata_props(0).value(), "[\"T-shirt \\\"top\\\"\",\"K\u00f6rper\\n\"]");
}

TEST(WriteOnnxTest, WhatDoesNotFitIsRefused) {
  const Graph graph = Build(
      "input { height: 1 width: 1 channels: 2 } layers { flatten {} } layers { dense { units: 2 } "
      "}");
  std::vector<float> parameters(6, 1.0f);
  auto refused = [&](const std::vector<std::string>& labels) {
    absl::StatusOr<std::string> bytes = WriteOnnx(graph, parameters, labels);
    EXPECT_EQ(bytes.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(bytes.status().message());
  };
  for (int opset : {-1, 0, 12, 18}) {
    const auto other = WriteOnnx(graph, parameters, {}, {.opset = opset});
    EXPECT_EQ(other.status().message(), absl::StrCat("opset: got ", opset, "; want 13 to 17"));
  }
  EXPECT_THAT(refused({"a"}), HasSubstr("labels: got 1; want one for each of the network's 2"));
  EXPECT_THAT(refused({"a", "\xff"}), HasSubstr("labels[1]: got bytes that are not UTF-8"));
  parameters[5] = std::numeric_limits<float>::infinity();
  EXPECT_THAT(refused({}), HasSubstr("dense/bias: element 1: got inf"));
  parameters.pop_back();
  EXPECT_THAT(refused({}), HasSubstr("parameters: got 5; want the network's 6"));
}

}  // namespace
}  // namespace convd
