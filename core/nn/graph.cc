#include "core/nn/graph.h"

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/nn/resolve.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

// Saturates, so that a comparison with a limit holds for any factors. REQUIRES: all > 0.
int64_t Product(std::initializer_list<int64_t> factors) {
  int64_t product = 1;
  for (int64_t factor : factors) {
    if (__builtin_mul_overflow(product, factor, &product)) {
      return std::numeric_limits<int64_t>::max();
    }
  }
  return product;
}

std::string Text(const Shape& shape) {
  return absl::StrCat(shape.height, " x ", shape.width, " x ", shape.channels);
}

// One axis of a window on `in` positions. VALID: out = floor((in - kernel) / stride) + 1. SAME, as
// TensorFlow and ONNX's SAME_UPPER have it: out = ceil(in / stride), and the padding that this
// takes, max((out - 1) * stride + kernel - in, 0), halved with the odd one at the end. `kernel` is
// the dilated extent. out is 0 where a VALID kernel does not fit.
struct Axis {
  int out = 0, begin = 0, end = 0;
};
Axis Slide(int64_t in, int64_t kernel, int64_t stride, bool same) {
  Axis axis;
  if (same) {
    const int64_t out = (in + stride - 1) / stride;
    const int64_t total = std::max<int64_t>((out - 1) * stride + kernel - in, 0);
    axis.out = static_cast<int>(out);
    axis.begin = static_cast<int>(total / 2);
    axis.end = static_cast<int>(total - total / 2);
  } else if (in >= kernel) {
    axis.out = static_cast<int>((in - kernel) / stride + 1);
  }
  return axis;
}

// Works out `layer.window` and the height and width of `layer.out`. `size_field` is what the user
// calls the kernel.
absl::Status SlideWindow(const v1::Layer& spec, std::string_view size_field, bool same,
                         GraphLayer& layer) {
  Window& w = layer.window;
  const int64_t extent_h = int64_t{w.kernel_h - 1} * w.dilation_h + 1;
  const int64_t extent_w = int64_t{w.kernel_w - 1} * w.dilation_w + 1;
  const bool dilated = extent_h != w.kernel_h || extent_w != w.kernel_w;
  const std::string found = absl::StrCat(
      "got ", w.kernel_h, " x ", w.kernel_w,
      dilated ? absl::StrCat(" (", extent_h, " x ", extent_w, " with its dilation)") : "");
  if (extent_h > kMaxExtent || extent_w > kMaxExtent) {
    return LayerError(spec, size_field,
                      absl::StrCat(found, "; want at most ", kMaxExtent, " x ", kMaxExtent));
  }
  const Axis h = Slide(layer.in.height, extent_h, w.stride_h, same);
  const Axis v = Slide(layer.in.width, extent_w, w.stride_w, same);
  if (h.out < 1 || v.out < 1) {
    return LayerError(
        spec, size_field,
        absl::StrCat(found, " on an input of ", Text(layer.in), "; want at most ", layer.in.height,
                     " x ", layer.in.width, ", or padding: PADDING_SAME"));
  }
  w.pad_top = h.begin;
  w.pad_bottom = h.end;
  w.pad_left = v.begin;
  w.pad_right = v.end;
  layer.out.height = h.out;
  layer.out.width = v.out;
  return absl::OkStatus();
}

template <typename Pool>
absl::Status InferPool(const v1::Layer& spec, const Pool& pool, GraphLayer& layer) {
  layer.window.kernel_h = pool.size(0);
  layer.window.kernel_w = pool.size(1);
  layer.window.stride_h = pool.stride(0);
  layer.window.stride_w = pool.stride(1);
  layer.out.channels = layer.in.channels;
  return SlideWindow(spec, "size", pool.padding() == v1::PADDING_SAME, layer);
}

absl::Status InferConv(const v1::Layer& spec, GraphLayer& layer) {
  const v1::Conv2D& conv = spec.conv();
  layer.window.kernel_h = conv.kernel(0);
  layer.window.kernel_w = conv.kernel(1);
  layer.window.stride_h = conv.stride(0);
  layer.window.stride_w = conv.stride(1);
  layer.window.dilation_h = conv.dilation(0);
  layer.window.dilation_w = conv.dilation(1);
  layer.groups = conv.groups();
  layer.activation = conv.activation();
  layer.alpha = DefaultAlpha(conv.activation());
  layer.out.channels = conv.filters();
  if (layer.in.channels % conv.groups() != 0 || conv.filters() % conv.groups() != 0) {
    return LayerError(
        spec, "groups",
        absl::StrCat("got ", conv.groups(), "; want a divisor of both the input's ",
                     layer.in.channels, " channels and the ", conv.filters(), " filters"));
  }
  return SlideWindow(spec, "kernel", conv.padding() == v1::PADDING_SAME, layer);
}

// Multiply-adds of one image's forward pass (additions or comparisons, for a pool).
int64_t MultiplyAdds(const GraphLayer& layer) {
  const int64_t window = Product({layer.window.kernel_h, layer.window.kernel_w});
  switch (layer.kind) {
    case LayerKind::kConv2D:
      return Product({layer.out.elements(), window, layer.in.channels / layer.groups});
    case LayerKind::kMaxPool:
    case LayerKind::kAveragePool:
      return Product({layer.out.elements(), window});
    case LayerKind::kDense:
      return Product({layer.in.elements(), layer.out.channels});
    default:
      return layer.out.elements();
  }
}

int64_t OutElements(const GraphLayer& layer) {
  return Product({layer.out.height, layer.out.width, layer.out.channels});
}

LayerKind Kind(const v1::Layer& spec) {
  switch (spec.kind_case()) {
    case v1::Layer::kConv:
      return LayerKind::kConv2D;
    case v1::Layer::kMaxPool:
      return LayerKind::kMaxPool;
    case v1::Layer::kAveragePool:
      return LayerKind::kAveragePool;
    case v1::Layer::kDense:
      return LayerKind::kDense;
    case v1::Layer::kDropout:
      return LayerKind::kDropout;
    case v1::Layer::kActivation:
      return LayerKind::kActivation;
    case v1::Layer::kFlatten:
    case v1::Layer::KIND_NOT_SET:  // ResolveNetwork refused it
      break;
  }
  return LayerKind::kFlatten;
}

// The layer's output shape and figures out of `layer.in`. `flat` says whether that is a vector, and
// then whether the output is.
absl::Status InferLayer(const v1::Layer& spec, GraphLayer& layer, bool& flat) {
  const bool spatial = spec.has_conv() || spec.has_max_pool() || spec.has_average_pool();
  if (spatial && flat) {
    return absl::InvalidArgumentError(absl::StrCat(
        "layer \"", spec.name(), "\": got a vector of ", layer.in.channels,
        "; want height x width x channels: move it before the flatten or dense layer"));
  }
  layer.out = layer.in;
  switch (spec.kind_case()) {
    case v1::Layer::kConv:
      return InferConv(spec, layer);
    case v1::Layer::kMaxPool:
      return InferPool(spec, spec.max_pool(), layer);
    case v1::Layer::kAveragePool:
      return InferPool(spec, spec.average_pool(), layer);
    case v1::Layer::kDense:
      if (!flat) {
        return absl::InvalidArgumentError(
            absl::StrCat("layer \"", spec.name(), "\": got an input of ", Text(layer.in),
                         "; want a vector: add a flatten layer before"));
      }
      layer.activation = spec.dense().activation();
      layer.alpha = DefaultAlpha(layer.activation);
      layer.out.channels = spec.dense().units();
      break;
    case v1::Layer::kFlatten:
      layer.out = Shape{1, 1, static_cast<int>(layer.in.elements())};
      flat = true;
      break;
    case v1::Layer::kDropout:
      layer.rate = spec.dropout().rate();
      break;
    case v1::Layer::kActivation:
      layer.activation = spec.activation().activation();
      layer.alpha = spec.activation().alpha();
      break;
    case v1::Layer::KIND_NOT_SET:
      break;
  }
  return absl::OkStatus();
}

absl::Status CheckSize(const v1::Layer& spec, const GraphLayer& layer) {
  if (OutElements(layer) > kMaxActivations) {
    return absl::InvalidArgumentError(absl::StrCat("layer \"", spec.name(), "\": got an output of ",
                                                   Text(layer.out), " for one image; want at most ",
                                                   kMaxActivations, " elements"));
  }
  const int64_t work = MultiplyAdds(layer);
  if (work > kMaxMultiplyAdds) {
    return absl::InvalidArgumentError(absl::StrCat("layer \"", spec.name(), "\": got ", work,
                                                   " multiply-adds for one image; want at most ",
                                                   kMaxMultiplyAdds));
  }
  return absl::OkStatus();
}

// What the layer trains, kernel before bias; offsets not yet set.
std::vector<Parameter> Parameters(const v1::Layer& spec, const GraphLayer& layer) {
  Parameter kernel, bias;
  kernel.name = absl::StrCat(spec.name(), "/kernel");
  bias.name = absl::StrCat(spec.name(), "/bias");
  bool has_bias = true;
  if (layer.kind == LayerKind::kConv2D) {
    const Window& w = layer.window;
    const int64_t in = layer.in.channels / layer.groups;
    const int64_t window = int64_t{w.kernel_h} * w.kernel_w;
    kernel.shape = {layer.out.channels, in, w.kernel_h, w.kernel_w};
    kernel.elements = Product({layer.out.channels, in, window});
    kernel.fan_in = Product({window, in});
    kernel.fan_out = Product({window, layer.out.channels / layer.groups});
    has_bias = !spec.conv().no_bias();
  } else if (layer.kind == LayerKind::kDense) {
    kernel.shape = {layer.in.channels, layer.out.channels};
    kernel.elements = Product({layer.in.channels, layer.out.channels});
    kernel.fan_in = layer.in.channels;
    kernel.fan_out = layer.out.channels;
    has_bias = !spec.dense().no_bias();
  } else {
    return {};
  }
  bias.shape = {layer.out.channels};
  bias.elements = layer.out.channels;
  std::vector<Parameter> parameters = {std::move(kernel)};
  if (has_bias) parameters.push_back(std::move(bias));
  return parameters;
}

}  // namespace

absl::StatusOr<Graph> Graph::Create(const v1::Network& network) {
  Graph graph;
  CONVD_ASSIGN_OR_RETURN(graph.network_, ResolveNetwork(network));
  const v1::InputShape& input = graph.network_.input();
  graph.input_ = Shape{input.height(), input.width(), input.channels()};
  if (Product({input.height(), input.width(), input.channels()}) > kMaxActivations) {
    return absl::InvalidArgumentError(absl::StrCat("network: input: got ", Text(graph.input_),
                                                   "; want at most ", kMaxActivations,
                                                   " elements"));
  }

  Shape shape = graph.input_;
  bool flat = false;
  for (const v1::Layer& spec : graph.network_.layers()) {
    GraphLayer layer;
    layer.name = spec.name();
    layer.kind = Kind(spec);
    layer.in = shape;
    CONVD_RETURN_IF_ERROR(InferLayer(spec, layer, flat));
    CONVD_RETURN_IF_ERROR(CheckSize(spec, layer));
    for (Parameter& parameter : Parameters(spec, layer)) {
      if (parameter.elements > kMaxParameters - graph.parameter_count_) {
        return absl::InvalidArgumentError(absl::StrCat(
            "layer \"", spec.name(), "\": got ", parameter.elements, " elements in ",
            parameter.name, " after ", graph.parameter_count_, " before it; want at most ",
            kMaxParameters, " parameters in the network"));
      }
      parameter.offset = graph.parameter_count_;
      graph.parameter_count_ += parameter.elements;
      layer.parameter_count += parameter.elements;
      (parameter.fan_in > 0 ? layer.kernel : layer.bias) =
          static_cast<int>(graph.parameters_.size());
      graph.parameters_.push_back(std::move(parameter));
    }
    shape = layer.out;
    graph.layers_.push_back(std::move(layer));
  }

  const std::string& last = graph.layers_.back().name;
  if (!flat) {
    return absl::InvalidArgumentError(
        absl::StrCat("layer \"", last, "\": the network ends in ", Text(shape),
                     "; want a vector of class scores: end it with flatten and dense layers"));
  }
  if (shape.channels < 2 || shape.channels > kMaxExtent) {
    return absl::InvalidArgumentError(absl::StrCat("layer \"", last, "\": the network ends in ",
                                                   shape.channels, " class scores; want 2 to ",
                                                   kMaxExtent));
  }
  graph.classes_ = shape.channels;
  return graph;
}

}  // namespace convd
