#include <cstring>
#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/data/finite.h"
#include "core/onnx/dense_rows.h"
#include "core/onnx/onnx_model.h"
#include "core/onnx/onnx_names.h"
#include "core/status/status_macros.h"
#include "nlohmann/json.hpp"
#include "onnx/onnx_pb.h"

namespace convd {
namespace {

// The one that came with the opset: older programs refuse newer ones.
constexpr int IrVersion(int opset) { return opset < 15 ? 7 : 8; }

// Appends nodes to a graph, each taking the value that the one before it gave.
class NodeChain {
 public:
  NodeChain(onnx::GraphProto& graph, std::string value) : graph_(graph), value_(std::move(value)) {}

  onnx::NodeProto& Append(const std::string& op, const std::string& name, std::string output,
                          std::initializer_list<std::string> initializers = {}) {
    onnx::NodeProto& node = *graph_.add_node();
    node.set_op_type(op);
    node.set_name(name);
    node.add_input(std::move(value_));
    for (const std::string& initializer : initializers) node.add_input(initializer);
    node.add_output(output);
    value_ = std::move(output);
    return node;
  }

  // Renames the last value: the graph's output has a name of its own.
  void RenameLast(const std::string& name) {
    graph_.mutable_node(graph_.node_size() - 1)->set_output(0, name);
    value_ = name;
  }

 private:
  onnx::GraphProto& graph_;
  std::string value_;
};

void SetInts(onnx::NodeProto& node, const std::string& name,
             std::initializer_list<int64_t> values) {
  onnx::AttributeProto& attribute = *node.add_attribute();
  attribute.set_name(name);
  attribute.set_type(onnx::AttributeProto::INTS);
  for (int64_t v : values) attribute.add_ints(v);
}

void SetInt(onnx::NodeProto& node, const std::string& name, int64_t value) {
  onnx::AttributeProto& attribute = *node.add_attribute();
  attribute.set_name(name);
  attribute.set_type(onnx::AttributeProto::INT);
  attribute.set_i(value);
}

void SetFloat(onnx::NodeProto& node, const std::string& name, float value) {
  onnx::AttributeProto& attribute = *node.add_attribute();
  attribute.set_name(name);
  attribute.set_type(onnx::AttributeProto::FLOAT);
  attribute.set_f(value);
}

void SetWindow(onnx::NodeProto& node, const Window& w) {
  SetInts(node, "kernel_shape", {w.kernel_h, w.kernel_w});
  SetInts(node, "strides", {w.stride_h, w.stride_w});
  SetInts(node, "pads", {w.pad_top, w.pad_left, w.pad_bottom, w.pad_right});
}

void AppendActivation(v1::Activation activation, float alpha, const std::string& name,
                      const std::string& output, NodeChain& chain) {
  switch (activation) {
    case v1::ACTIVATION_RELU:
      chain.Append("Relu", name, output);
      break;
    case v1::ACTIVATION_LEAKY_RELU:
      SetFloat(chain.Append("LeakyRelu", name, output), "alpha", alpha);
      break;
    case v1::ACTIVATION_ELU:
      SetFloat(chain.Append("Elu", name, output), "alpha", alpha);
      break;
    case v1::ACTIVATION_SIGMOID:
      chain.Append("Sigmoid", name, output);
      break;
    case v1::ACTIVATION_TANH:
      chain.Append("Tanh", name, output);
      break;
    case v1::ACTIVATION_SOFTMAX:
      SetInt(chain.Append("Softmax", name, output), "axis", 1);
      break;
    default:
      break;
  }
}

// A convolution or dense layer's own node, then its fused activation's.
void AppendTrained(const Graph& graph, const GraphLayer& layer, NodeChain& chain) {
  const bool fused = layer.activation != v1::ACTIVATION_UNSPECIFIED;
  const std::string output = absl::StrCat(layer.name, "/output");
  const bool conv = layer.kind == LayerKind::kConv2D;
  onnx::NodeProto& node = chain.Append(conv ? "Conv" : "Gemm", layer.name,
                                       fused ? absl::StrCat(layer.name, "/linear") : output,
                                       {graph.parameters()[layer.kernel].name});
  if (layer.bias >= 0) node.add_input(graph.parameters()[layer.bias].name);
  if (conv) {
    SetWindow(node, layer.window);
    SetInts(node, "dilations", {layer.window.dilation_h, layer.window.dilation_w});
    SetInt(node, "group", layer.groups);
  }
  AppendActivation(layer.activation, layer.alpha, absl::StrCat(layer.name, "/activation"), output,
                   chain);
}

void AppendLayer(const Graph& graph, int index, NodeChain& chain) {
  const GraphLayer& layer = graph.layers()[index];
  const std::string output = absl::StrCat(layer.name, "/output");
  switch (layer.kind) {
    case LayerKind::kConv2D:
    case LayerKind::kDense:
      AppendTrained(graph, layer, chain);
      break;
    case LayerKind::kMaxPool:
      SetWindow(chain.Append("MaxPool", layer.name, output), layer.window);
      break;
    case LayerKind::kAveragePool: {
      onnx::NodeProto& node = chain.Append("AveragePool", layer.name, output);
      SetWindow(node, layer.window);
      SetInt(node, "count_include_pad", 0);
      break;
    }
    case LayerKind::kFlatten: {
      // The first dense layer's rows are permuted to match (dense_rows.h). Without one the scores
      // themselves must come in height, width, channel order.
      bool dense_follows = false;
      for (size_t l = index + 1; l < graph.layers().size(); ++l) {
        dense_follows = dense_follows || graph.layers()[l].kind == LayerKind::kDense;
      }
      if (!dense_follows && layer.in.height * layer.in.width > 1) {
        SetInts(chain.Append("Transpose", absl::StrCat(layer.name, "/transpose"),
                             absl::StrCat(layer.name, "/nhwc")),
                "perm", {0, 2, 3, 1});
      }
      SetInt(chain.Append("Flatten", layer.name, output), "axis", 1);
      break;
    }
    case LayerKind::kActivation:
      AppendActivation(layer.activation, layer.alpha, layer.name, output, chain);
      break;
    case LayerKind::kDropout:
      break;  // nothing, at inference
  }
}

absl::Status AddParameters(const Graph& graph, absl::Span<const float> parameters,
                           onnx::GraphProto& proto) {
  std::vector<float> rows;
  for (size_t l = 0; l < graph.layers().size(); ++l) {
    const GraphLayer& layer = graph.layers()[l];
    for (int index : {layer.kernel, layer.bias}) {
      if (index < 0) continue;
      const Parameter& parameter = graph.parameters()[index];
      const float* data = parameters.data() + parameter.offset;
      if (const size_t i = FirstNonFinite({data, static_cast<size_t>(parameter.elements)});
          i < static_cast<size_t>(parameter.elements)) {
        return absl::InvalidArgumentError(absl::StrCat("parameter ", parameter.name, ": element ",
                                                       i, ": got ", data[i],
                                                       "; want finite numbers"));
      }
      if (layer.kind == LayerKind::kDense && index == layer.kernel) {
        rows.resize(parameter.elements);
        RowsToFile(FlattenedImage(graph, static_cast<int>(l)), layer.out.channels, data,
                   rows.data());
        data = rows.data();
      }
      onnx::TensorProto& tensor = *proto.add_initializer();
      tensor.set_name(parameter.name);
      tensor.set_data_type(onnx::TensorProto::FLOAT);
      for (int64_t dim : parameter.shape) tensor.add_dims(dim);
      tensor.set_raw_data(data, parameter.elements * sizeof(float));
    }
  }
  return absl::OkStatus();
}

void SetType(int type, const std::vector<int64_t>& dims, onnx::ValueInfoProto& value) {
  onnx::TypeProto::Tensor& tensor = *value.mutable_type()->mutable_tensor_type();
  tensor.set_elem_type(type);
  tensor.mutable_shape()->add_dim()->set_dim_param("N");
  for (int64_t dim : dims) tensor.mutable_shape()->add_dim()->set_dim_value(dim);
}

// The input, and the nodes that make scaled f32 in NCHW of it.
NodeChain AppendEntry(const Graph& graph, OnnxEntry entry, onnx::GraphProto& proto) {
  const Shape shape = graph.input();
  const bool bytes = TakesBytes(entry);
  const bool nchw = TakesChannelsFirst(entry);
  proto.add_input()->set_name(kOnnxInput);
  SetType(bytes ? onnx::TensorProto::UINT8 : onnx::TensorProto::FLOAT,
          nchw ? std::vector<int64_t>{shape.channels, shape.height, shape.width}
               : std::vector<int64_t>{shape.height, shape.width, shape.channels},
          *proto.mutable_input(0));
  NodeChain chain(proto, kOnnxInput);
  if (bytes) {
    SetInt(chain.Append("Cast", "preprocessing/cast", "preprocessing/pixels"), "to",
           onnx::TensorProto::FLOAT);
  }
  chain.Append("Mul", "preprocessing/multiply", "preprocessing/scaled", {kOnnxScale});
  if (!nchw) {
    SetInts(chain.Append("Transpose", "preprocessing/transpose", "preprocessing/nchw"), "perm",
            {0, 3, 1, 2});
  }
  return chain;
}

absl::StatusOr<std::string> LabelsAsJson(const std::vector<std::string>& labels) {
  std::string json = "[";
  for (size_t i = 0; i < labels.size(); ++i) {
    try {  // nlohmann-json throws where a string isn't UTF-8
      absl::StrAppend(&json, i == 0 ? "" : ",", nlohmann::json(labels[i]).dump());
    } catch (const std::exception&) {
      return absl::InvalidArgumentError(
          absl::StrCat("labels[", i, "]: got bytes that are not UTF-8; want UTF-8 text"));
    }
  }
  return json + "]";
}

}  // namespace

absl::Status CheckOpset(int opset) {
  if (opset >= kMinOpset && opset <= kMaxOpset) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("opset: got ", opset, "; want ", kMinOpset, " to ", kMaxOpset));
}

absl::StatusOr<std::string> WriteOnnx(const Graph& graph, absl::Span<const float> parameters,
                                      const std::vector<std::string>& labels,
                                      const OnnxOptions& options) {
  CONVD_RETURN_IF_ERROR(CheckOpset(options.opset));
  if (static_cast<int64_t>(parameters.size()) != graph.parameter_count()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "parameters: got ", parameters.size(), "; want the network's ", graph.parameter_count()));
  }
  if (!labels.empty() && static_cast<int>(labels.size()) != graph.classes()) {
    return absl::InvalidArgumentError(absl::StrCat("labels: got ", labels.size(),
                                                   "; want one for each of the network's ",
                                                   graph.classes(), " classes, or none"));
  }
  onnx::ModelProto model;
  model.set_ir_version(IrVersion(options.opset));
  model.set_producer_name("convd");
  onnx::OperatorSetIdProto& opset = *model.add_opset_import();
  opset.set_domain("");
  opset.set_version(options.opset);

  onnx::GraphProto& proto = *model.mutable_graph();
  proto.set_name(graph.name());
  proto.add_output()->set_name(kOnnxOutput);
  SetType(onnx::TensorProto::FLOAT, {graph.classes()}, *proto.mutable_output(0));

  onnx::TensorProto& scale = *proto.add_initializer();
  scale.set_name(kOnnxScale);
  scale.set_data_type(onnx::TensorProto::FLOAT);
  const float scale_value = graph.scale();
  scale.set_raw_data(&scale_value, sizeof scale_value);
  CONVD_RETURN_IF_ERROR(AddParameters(graph, parameters, proto));

  NodeChain chain = AppendEntry(graph, options.entry, proto);
  for (size_t l = 0; l < graph.layers().size(); ++l) AppendLayer(graph, static_cast<int>(l), chain);
  if (graph.layers().back().activation != v1::ACTIVATION_SOFTMAX) {
    SetInt(chain.Append("Softmax", "postprocessing/softmax", kOnnxOutput), "axis", 1);
  }
  chain.RenameLast(kOnnxOutput);

  if (!labels.empty()) {
    onnx::StringStringEntryProto& entry = *model.add_metadata_props();
    entry.set_key(kOnnxLabels);
    CONVD_ASSIGN_OR_RETURN(*entry.mutable_value(), LabelsAsJson(labels));
  }
  std::string bytes;
  if (!model.SerializeToString(&bytes)) {
    return absl::InternalError("model.onnx could not be serialized");
  }
  return bytes;
}

}  // namespace convd
