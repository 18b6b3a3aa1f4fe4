#ifndef CONVD_CORE_NN_GRAPH_H_
#define CONVD_CORE_NN_GRAPH_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "convd/v1/network.pb.h"

namespace convd {

// Height x width x channels of one image's activations; a vector of n is 1 x 1 x n.
struct Shape {
  int height = 1;
  int width = 1;
  int channels = 0;
  int64_t elements() const { return int64_t{height} * width * channels; }
  bool operator==(const Shape&) const = default;
};

enum class LayerKind { kConv2D, kMaxPool, kAveragePool, kDense, kFlatten, kDropout, kActivation };

// Sizes of a sliding window along both axes, padding worked out.
struct Window {
  int kernel_h = 1, kernel_w = 1;
  int stride_h = 1, stride_w = 1;
  int dilation_h = 1, dilation_w = 1;
  int pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
};

// A trainable array. Canonical shapes and order, everywhere outside core/dnn:
//   convolution kernel  {filters, in_channels / groups, kernel_h, kernel_w} (ONNX's OIHW)
//   dense kernel        {inputs, units}, inputs in height, width, channel order (Keras's)
//   bias                {filters} or {units}
struct Parameter {
  std::string name;  // "conv2d/kernel", "conv2d/bias"
  std::vector<int64_t> shape;
  int64_t fan_in = 0;   // for Glorot: kernel_h * kernel_w * in_channels / groups, or inputs
  int64_t fan_out = 0;  // kernel_h * kernel_w * filters / groups, or units; both 0 for a bias
  int64_t elements = 0;
  int64_t offset = 0;  // of its first element among all parameters, in order, without gaps
};

// One layer with everything worked out. Fields beside the kind's own stay at their defaults.
struct GraphLayer {
  std::string name;
  LayerKind kind = LayerKind::kFlatten;
  Shape in, out;
  Window window;   // kConv2D, kMaxPool, kAveragePool
  int groups = 1;  // kConv2D
  float rate = 0;  // kDropout
  v1::Activation activation =
      v1::ACTIVATION_UNSPECIFIED;  // kActivation; also fused in kConv2D and kDense
  float alpha = 0;                 // of that activation
  int kernel = -1;                 // index into Graph::parameters(), or -1
  int bias = -1;
  int64_t parameter_count = 0;
};

// A checked network: every shape inferred, every default filled in. Immutable; any thread may read.
class Graph {
 public:
  // INVALID_ARGUMENT naming the layer, the field, what was found and what would be right. Never
  // partial.
  static absl::StatusOr<Graph> Create(const v1::Network& network);

  // The network with every default filled in; Create() of it gives the same graph.
  const v1::Network& network() const { return network_; }
  const std::string& name() const { return network_.name(); }
  Shape input() const { return input_; }
  float scale() const { return network_.preprocessing().scale(); }
  const std::vector<GraphLayer>& layers() const { return layers_; }
  // In layer order, kernel before bias.
  const std::vector<Parameter>& parameters() const { return parameters_; }
  int64_t parameter_count() const { return parameter_count_; }
  // Outputs of the last layer; the network always ends in a vector of class scores. A trailing
  // softmax (layer or fused) is there in layers(); where it is missing the scores are logits all
  // the same.
  int classes() const { return classes_; }

 private:
  Graph() = default;

  v1::Network network_;
  Shape input_;
  std::vector<GraphLayer> layers_;
  std::vector<Parameter> parameters_;
  int64_t parameter_count_ = 0;
  int classes_ = 0;
};

}  // namespace convd

#endif  // CONVD_CORE_NN_GRAPH_H_
