#include "core/dnn/int8_layer.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/dnn/int8_kernels.h"

// Convolutions and dense layers on bytes. An input x is (byte - zero) * input scale, a weight its
// byte times a scale of its filter, symmetric around 0; so a sum of products is
//   input scale * filter's scale * (sum of bytes * weights - zero * sum of weights),
// the bracket an exact integer (Jacob et al. 2018, "Quantization and Training of Neural Networks
// for Efficient Integer-Arithmetic-Only Inference", which convolutions of integers are from).

namespace convd {
namespace {

constexpr int64_t kMostTaps = 65536;  // whose sum an integer of 32 bits holds (int8_kernels.h)
constexpr double kMostWeight = 127;
// Bytes that an image may have with its padding beyond four times its own: a kernel as large as the
// image could make them a million times as many.
constexpr int64_t kMostPadding = 64 << 10;
// The arrays beside the weights: starts, scales, offsets.
constexpr int64_t kArrays = 3;

bool IsDense(const GraphLayer& layer) { return layer.kind == LayerKind::kDense; }

// As the kernel takes it: with its padding in the image, a dense layer as a row of pixels.
Int8Shape ShapeOf(const GraphLayer& layer, int64_t images) {
  Int8Shape s;
  if (IsDense(layer)) {
    s.images = 1;
    s.in_h = s.out_h = s.kernel_h = 1;
    s.in_w = s.out_w = images;
    s.channels = s.row_taps = layer.in.elements();
  } else {
    const Window& w = layer.window;
    s.images = images;
    s.in_h = layer.in.height + w.pad_top + w.pad_bottom;
    s.in_w = layer.in.width + w.pad_left + w.pad_right;
    s.channels = layer.in.channels;
    s.out_h = layer.out.height;
    s.out_w = layer.out.width;
    s.kernel_h = w.kernel_h;
    s.row_taps = int64_t{w.kernel_w} * layer.in.channels;
    s.stride_h = w.stride_h;
    s.stride_w = w.stride_w;
  }
  s.filters = layer.out.channels;
  return s;
}

class Int8Layer : public Operation {
 public:
  Int8Layer(const GraphLayer& layer, int64_t images, const FusedLayers& fused,
            const InputScale& input)
      : Operation(fused.pool == nullptr ? layer.name
                                        : absl::StrCat(layer.name, "+", fused.pool->name)),
        layer_(layer),
        images_(images),
        relu_(fused.relu),
        input_(input),
        shape_(ShapeOf(layer, images)) {
    shape_.pool = fused.pool != nullptr;
    kernel = layer.kernel;
    bias = layer.bias;
    in_elements = layer.in.elements();
    out_elements = shape_.pool ? fused.pool->out.elements() : layer.out.elements();
  }

  const InputScale* input_scale() const override { return &input_; }
  bool has_relu() const override { return relu_ && !shape_.pool; }
  bool backward_reads_output() const override { return false; }

  void Prepare() override {
    shape_.bytes = output_scale != nullptr;
    shape_.relu = relu_;
    shape_.least = shape_.bytes && relu_ ? output_scale->zero : 0;
  }
  int64_t packed_size() const override { return Int8PackedFloats(layer_); }
  int64_t scratch_bytes() const override {
    return copies() ? images_ * Int8ScratchBytes(layer_) + kInt8Slack : 0;
  }

  // Weights, then the starts, scales and offsets of the sums.
  absl::Status Pack(const float* kernel, const float* bias, float* packed) const override {
    const int64_t filters = PaddedFilters(shape_.filters);
    std::memset(packed, 0, packed_size() * sizeof(float));
    int8_t* const bytes = reinterpret_cast<int8_t*>(packed);
    int32_t* const start = reinterpret_cast<int32_t*>(bytes + Int8WeightBytes(shape_));
    float* const scale = reinterpret_cast<float*>(start + filters);
    float* const offset = scale + filters;
    const double step = output_scale == nullptr ? 1 : output_scale->scale;
    const double zero = output_scale == nullptr ? 0 : output_scale->zero;
    for (int64_t f = 0; f < shape_.filters; ++f) {
      double largest = 0;
      bool finite = true;
      ForEachTap([&](int64_t /*row*/, int64_t /*tap*/, int64_t at) {
        const double weight = std::abs(double{kernel[KernelOffset(f, at)]});
        largest = std::max(largest, weight);
        finite = finite && std::isfinite(weight);
      });
      const double weight_scale = largest > 0 ? largest / kMostWeight : 1;
      const double sum_scale = input_.scale * weight_scale / step;
      const double sum_offset = (bias == nullptr ? 0 : bias[f]) / step + zero;
      // Else an answer could come of what was infinite on the way.
      if (!finite || !(sum_scale <= FLT_MAX) || !(std::abs(sum_offset) <= FLT_MAX)) {
        return absl::FailedPreconditionError(
            absl::StrCat("layer \"", layer_.name,
                         "\": its weights, or the range of its input, are too large for "
                         "int8; want f32"));
      }
      int64_t sum = 0;
      ForEachTap([&](int64_t row, int64_t tap, int64_t at) {
        const auto byte =
            static_cast<int8_t>(std::nearbyint(kernel[KernelOffset(f, at)] / weight_scale));
        sum += byte;
        bytes[((row * Int8Steps(shape_) + tap / kInt8Taps) * filters + f) * kInt8Taps +
              tap % kInt8Taps] = byte;
      });
      start[f] = static_cast<int32_t>(-sum * input_.zero);
      scale[f] = static_cast<float>(sum_scale);
      offset[f] = static_cast<float>(sum_offset);
    }
    return absl::OkStatus();
  }

  void Bind(const Binding& b) const override {
    const int8_t* const weights = reinterpret_cast<const int8_t*>(b.weights);
    const int64_t filters = PaddedFilters(shape_.filters);
    const Int8Outputs to{reinterpret_cast<const int32_t*>(weights + Int8WeightBytes(shape_)),
                         b.weights + Int8WeightBytes(shape_) / 4 + filters,
                         b.weights + Int8WeightBytes(shape_) / 4 + 2 * filters};
    // Both are cut where they would take longer than about half a millisecond.
    if (copies()) {
      const int64_t rows = shape_.images * shape_.in_h;
      const CallInfo copy = Info(0, InputBytes());
      ForEachRange(HalfMilliseconds(0, InputBytes() + images_ * in_elements), rows,
                   [&](int64_t begin, int64_t end) {
                     b.forward->push_back(
                         {ShareOf(copy, begin, end, rows),
                          [this, begin, end, x = b.x, scratch = static_cast<uint8_t*>(b.scratch)](
                              MicroBatch&) { Copy(x, scratch, begin, end); }});
                   });
    }
    const int64_t parts = Int8Parts(shape_), weight_bytes = Int8WeightBytes(shape_);
    const CallInfo info =
        Info(2 * images_ * layer_.out.elements() * shape_.kernel_h * shape_.row_taps,
             packed_size() * 4 + (copies() ? 0 : InputBytes()) +
                 images_ * out_elements * (shape_.bytes ? 1 : 4));
    // As many products as for whole vectors.
    const int64_t flop = 2 * shape_.images * shape_.out_h * shape_.out_w * weight_bytes;
    ForEachRange(HalfMilliseconds(flop, weight_bytes), parts, [&](int64_t begin, int64_t end) {
      b.forward->push_back({ShareOf(info, begin, end, parts),
                            [this, range = Int8Range{begin, end}, weights, to, y = b.y,
                             x = copies() ? b.scratch : b.x](MicroBatch&) {
                              ActiveInt8Kernels()->convolution(
                                  shape_, range, static_cast<const uint8_t*>(x), weights, to, y);
                            }});
    });
  }

 private:
  bool padded() const {
    return !IsDense(layer_) && (shape_.in_h != layer_.in.height || shape_.in_w != layer_.in.width);
  }
  // Whether the kernel reads a copy: bytes of floats, or an image with its padding.
  bool copies() const { return !reads_bytes || padded(); }

  // Calls f(begin, end) for ranges of [0, all), one for each half millisecond.
  template <typename F>
  static void ForEachRange(double halves, int64_t all, F f) {
    const int64_t calls = std::clamp<int64_t>(static_cast<int64_t>(halves + 0.5), 1, all);
    for (int64_t i = 0; i < calls; ++i) f(all * i / calls, all * (i + 1) / calls);
  }

  // About what so many FLOP take, or so many bytes of memory.
  static double HalfMilliseconds(int64_t flop, int64_t bytes) {
    return std::max(static_cast<double>(flop) / (kInt8Speed * kCallFlop),
                    static_cast<double>(bytes) / (sizeof(float) * kCallFloats));
  }

  // The rows [begin, end) of all images with their padding; a dense layer has one.
  void Copy(const float* x, uint8_t* to, int64_t begin, int64_t end) const {
    const Window& w = layer_.window;
    const float inverse = 1 / input_.scale;
    const int64_t left = w.pad_left * shape_.channels;
    const int64_t padding = left + w.pad_right * shape_.channels;
    const int64_t padded_row = shape_.in_w * shape_.channels, row = padded_row - padding;
    const int64_t height = shape_.in_h - w.pad_top - w.pad_bottom;
    to += begin * padded_row;
    for (int64_t r = begin; r < end; ++r, to += padded_row) {
      const int64_t h = r % shape_.in_h - w.pad_top;
      if (h < 0 || h >= height) {
        std::memset(to, input_.zero, padded_row);
        continue;
      }
      const int64_t at = (r / shape_.in_h * height + h) * row;
      std::memset(to, input_.zero, left);
      if (reads_bytes) {
        std::memcpy(to + left, reinterpret_cast<const uint8_t*>(x) + at, row);
      } else {
        ActiveInt8Kernels()->quantize(row, x + at, inverse, input_.zero, to + left);
      }
      std::memset(to + left + row, input_.zero, padding - left);
    }
  }

  // Calls f(row of the window, tap along it, place in the kernel of one filter).
  template <typename F>
  void ForEachTap(F f) const {
    const int64_t channels = IsDense(layer_) ? shape_.row_taps : shape_.channels;
    const int64_t columns = shape_.row_taps / channels;
    for (int64_t h = 0; h < shape_.kernel_h; ++h)
      for (int64_t w = 0; w < columns; ++w)
        for (int64_t c = 0; c < channels; ++c)
          f(h, w * channels + c, (c * shape_.kernel_h + h) * columns + w);
  }
  // In the graph's order: {filters, channels, kernel_h, kernel_w}, a dense layer's inputs x units.
  int64_t KernelOffset(int64_t f, int64_t at) const {
    return IsDense(layer_) ? at * shape_.filters + f : f * shape_.kernel_h * shape_.row_taps + at;
  }

  int64_t InputBytes() const { return images_ * in_elements * (reads_bytes ? 1 : 4); }
  CallInfo Info(int64_t flop, int64_t bytes) const {
    CallInfo info = OwnCall(name(), "forward",
                            IsDense(layer_) ? "nc, weights i4o4" : "nhwc, weights hwi4o4", flop, 0);
    info.kernel = absl::StrCat("own:", ActiveInt8Kernels()->name);
    info.bytes = bytes;
    return info;
  }

  const GraphLayer layer_;
  const int64_t images_;
  const bool relu_;
  const InputScale input_;
  Int8Shape shape_;
};

}  // namespace

bool MultipliesInt8(const GraphLayer& layer) {
  if (IsDense(layer)) return layer.in.elements() <= kMostTaps;
  const Window& w = layer.window;
  return layer.kind == LayerKind::kConv2D && layer.groups == 1 && w.dilation_h == 1 &&
         w.dilation_w == 1 && int64_t{w.kernel_h} * w.kernel_w * layer.in.channels <= kMostTaps &&
         Int8ScratchBytes(layer) <= 4 * layer.in.elements() + kMostPadding;
}

v1::Precision LayerPrecision(const GraphLayer& layer, v1::Precision precision, bool first) {
  const bool has = precision == v1::PRECISION_INT8   ? MultipliesInt8(layer)
                   : precision == v1::PRECISION_BF16 ? layer.kind == LayerKind::kConv2D && !first
                                                     : false;
  return has ? precision : v1::PRECISION_F32;
}

int64_t Int8PackedFloats(const GraphLayer& layer) {
  const Int8Shape shape = ShapeOf(layer, 1);
  return Int8WeightBytes(shape) / static_cast<int64_t>(sizeof(float)) +
         kArrays * PaddedFilters(shape.filters);
}

int64_t Int8ScratchBytes(const GraphLayer& layer) {
  const Int8Shape shape = ShapeOf(layer, 1);
  return shape.in_h * shape.in_w * shape.channels;
}

std::unique_ptr<Operation> NewInt8Layer(const GraphLayer& layer, int64_t images,
                                        const FusedLayers& fused, const InputScale& input) {
  return std::make_unique<Int8Layer>(layer, images, fused, input);
}

}  // namespace convd
