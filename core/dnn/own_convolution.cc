#include "core/dnn/own_convolution.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

// Convolutions by the engine's own kernels, with a ReLU and a max pool in them. Kernels of both
// kinds take weights as kernel_h x kernel_w x channels x filters, these padded to PaddedUnits; a
// packed array's padding is zero and stays it.

namespace convd {
namespace {

constexpr int kBlock = 16;  // channels and filters of Winograd's
constexpr int kMostNarrowChannels = 4;

// Tiles at a time: what lies between transforms and products is to stay in the second cache beside
// the kernel's points, and the points are read from there once a block, so not too few. A multiple
// of what the products take at once.
constexpr int64_t kTilesStep = 12, kLeastTiles = 24, kMostTiles = 48;
constexpr int64_t kBlockBytes = 512 << 10;

// A transformed kernel is four times as large as the kernel, and so is its gradient. Too few tiles
// an image don't make up for reading and writing it; measured with 32 to 256 channels on maps of
// 8x8 and 16x16: of 256, 8x8 was slower than the direct method, all else faster.
constexpr int64_t kMostPointsATile = 4096, kMostPoints = 256 * 256;

int64_t BlockTiles(int channels, int filters) {
  const int64_t tile = int64_t{kWinogradPoints} * (channels + filters) * sizeof(float);
  return std::clamp(kBlockBytes / tile / kTilesStep * kTilesStep, kLeastTiles, kMostTiles);
}

// Lanes of 32 bits that a transformed kernel takes.
int64_t PointFloats(const GraphLayer& layer, v1::Precision precision) {
  const int64_t points = int64_t{kWinogradPoints} * layer.in.channels * layer.out.channels;
  return precision == v1::PRECISION_BF16 ? points / 2 : points;
}

// From ONNX's order {filters, channels, kernel_h, kernel_w} to the kernels' and back.
void ToKernelOrder(const GraphLayer& layer, const float* from, float* to) {
  const int window = layer.window.kernel_h * layer.window.kernel_w;
  const int channels = layer.in.channels, filters = layer.out.channels;
  const int64_t stride = PaddedUnits(filters);
  for (int f = 0; f < filters; ++f)
    for (int c = 0; c < channels; ++c)
      for (int k = 0; k < window; ++k) to[(int64_t{k} * channels + c) * stride + f] = *from++;
}

void FromKernelOrder(const GraphLayer& layer, const float* from, float* to) {
  const int window = layer.window.kernel_h * layer.window.kernel_w;
  const int channels = layer.in.channels, filters = layer.out.channels;
  const int64_t stride = PaddedUnits(filters);
  for (int f = 0; f < filters; ++f)
    for (int c = 0; c < channels; ++c)
      for (int k = 0; k < window; ++k) *to++ = from[(int64_t{k} * channels + c) * stride + f];
}

// Floats of an image with the zeros around it; 0 where the layer has none.
int64_t PaddedImage(const GraphLayer& layer) {
  const Window& w = layer.window;
  const int64_t rows = w.pad_top + w.pad_bottom, columns = w.pad_left + w.pad_right;
  if (rows == 0 && columns == 0) return 0;
  return (layer.in.height + rows) * (layer.in.width + columns) * layer.in.channels;
}

// What the two kinds share: their place in the plan, and how parameters are packed.
class OwnConvolution : public Operation {
 public:
  OwnConvolution(const GraphLayer& layer, const PlanOptions& options, const FusedLayers& fused)
      : Operation(fused.pool == nullptr ? layer.name
                                        : absl::StrCat(layer.name, "+", fused.pool->name)),
        layer_(layer),
        images_(options.images),
        training_(options.training),
        relu_(fused.relu),
        pool_(fused.pool != nullptr) {
    kernel = layer.kernel;
    bias = layer.bias;
    in_elements = layer.in.elements();
    out_elements = pool_ ? fused.pool->out.elements() : layer.out.elements();
  }

  // With a pool in it the ReLU is this operation's own affair.
  bool has_relu() const override { return relu_ && !pool_; }
  bool backward_reads_output() const override { return masks(); }

  int64_t packed_size() const override { return kernel_size() + bias_size(); }

  void Unpack(const float* packed, float* kernel, float* bias_to) const override {
    FromKernelOrder(layer_, packed, kernel);
    if (bias >= 0) CopyBias(packed + kernel_size(), bias_to);
  }

 protected:
  int64_t weights() const {
    return int64_t{layer_.window.kernel_h} * layer_.window.kernel_w * layer_.in.channels *
           PaddedUnits(layer_.out.channels);
  }
  virtual int64_t kernel_size() const { return weights(); }
  // Whether backward has to ask y which outputs the ReLU let pass.
  bool masks() const { return pool_ ? relu_ : masks_relu; }
  void CopyBias(const float* from, float* to) const {
    std::memcpy(to, from, layer_.out.channels * sizeof(float));
  }
  // Which output won, kept for backward; null where there is none to keep.
  uint8_t* Index(const Binding& b) const {
    if (!training_ || !pool_) return nullptr;
    b.extra->emplace_back((images_ * out_elements + 3) / 4);
    return reinterpret_cast<uint8_t*>(b.extra->back().data());
  }
  // Of `passes` that each need as many FLOP as forward does by the direct method. `per_image` and
  // `once` are the floats that they read and write, beside the inputs and outputs that all do.
  CallInfo Info(const char* pass, const char* weights_layout, int passes, int64_t per_image,
                int64_t once) const {
    const int64_t flop = passes * 2 * images_ * layer_.out.elements() * layer_.window.kernel_h *
                         layer_.window.kernel_w * layer_.in.channels;
    CallInfo info = OwnCall(name(), pass, absl::StrCat("nhwc, weights ", weights_layout), flop,
                            images_ * (in_elements + out_elements + per_image) + once);
    if (training_ && pool_) info.bytes += images_ * out_elements;  // which output won
    return info;
  }
  int64_t bias_size() const { return bias >= 0 ? PaddedUnits(layer_.out.channels) : 0; }

  const GraphLayer layer_;
  const int64_t images_;
  const bool training_, relu_, pool_;
};

// When training, packed are the weights and derived the points of their forward and backward
// products; for inference packed are the points.
class WinogradConvolution : public OwnConvolution {
 public:
  WinogradConvolution(const GraphLayer& layer, const PlanOptions& options, const FusedLayers& fused)
      : OwnConvolution(layer, options, fused),
        precision_(options.precision),
        kernels_(precision_ == v1::PRECISION_BF16 ? ActiveBf16Kernels()->winograd
                                                  : ActiveKernels().winograd) {}

  int64_t derived_size() const override {
    return needs_dx ? Floats().derived : (training_ ? points() : 0);
  }
  int64_t scratch_bytes() const override {
    return Floats().scratch * static_cast<int64_t>(sizeof(float));
  }

  absl::Status Pack(const float* kernel, const float* bias_from, float* packed) const override {
    if (training_) {
      ToKernelOrder(layer_, kernel, packed);
    } else {
      AlignedBuffer ordered(weights());
      ToKernelOrder(layer_, kernel, ordered.data());
      kernels_.weights(layer_.in.channels, layer_.out.channels, ordered.data(), packed);
    }
    if (bias >= 0) CopyBias(bias_from, packed + kernel_size());
    return absl::OkStatus();
  }

  void Derive(const float* packed, float* derived) const override {
    if (!training_) return;
    const int64_t channels = layer_.in.channels, filters = layer_.out.channels;
    kernels_.weights(channels, filters, packed, derived);
    if (!needs_dx) return;
    float* const exchanged = derived + 2 * points();
    for (int64_t k = 0; k < 9; ++k) {
      const float* const from = packed + k * channels * filters;
      float* const to = exchanged + k * channels * filters;
      // By as many filters as a cache line has, whose lines are written to by all channels in turn.
      for (int64_t f0 = 0; f0 < filters; f0 += kBlock)
        for (int64_t c = 0; c < channels; ++c)
          for (int64_t f = f0; f < f0 + kBlock; ++f) to[f * channels + c] = from[c * filters + f];
    }
    kernels_.weights(filters, channels, exchanged, derived + points());
  }

  void Bind(const Binding& b) const override {
    const float* bias_data = bias >= 0 ? b.weights + kernel_size() : nullptr;
    float* const scratch = static_cast<float*>(b.scratch);
    uint8_t* const index = Index(b);
    const CallInfo forward = Named(Info("forward", "winograd 4x4", 1, 0, points() + bias_size()));
    ForEachRange(forward, [&](const CallInfo& info, const TileRange& range) {
      b.forward->push_back(
          {info, [forward = kernels_.forward, shape = Shape(), range, bias_data, scratch, index,
                  x = b.x, y = b.y, u = training_ ? b.derived : b.weights](MicroBatch&) {
             forward(shape, range, x, u, bias_data, y, index, scratch);
           }});
    });
    if (!training_) return;
    WinogradShape shape = Shape();
    shape.relu = masks();
    const CallInfo backward =
        Named(Info("backward", "winograd 4x4", b.dx == nullptr ? 1 : 2,
                   (masks() ? out_elements : 0) + (b.dx == nullptr ? 0 : in_elements),
                   packed_size() + (b.dx == nullptr ? 0 : points())));
    ForEachRange(backward, [&](const CallInfo& info, const TileRange& range) {
      b.backward->push_back(
          {info, [this, shape, range, scratch, index, x = b.x, y = b.y, dy = b.dy, dx = b.dx,
                  ut = b.derived + points(), offset = b.gradient_offset](MicroBatch& batch) {
             float* const dw = batch.gradient + offset;
             kernels_.backward(shape, range, x, dy, y, index, ut, dw,
                               bias >= 0 ? dw + kernel_size() : nullptr, dx, scratch);
           }});
    });
  }

 private:
  // Floats of a transformed kernel.
  int64_t points() const { return PointFloats(layer_, precision_); }
  OwnConvolutionFloats Floats() const {
    return FloatsOf(layer_, ConvolutionKernel::kWinograd, training_, precision_);
  }
  int64_t kernel_size() const override { return training_ ? weights() : points(); }
  CallInfo Named(CallInfo info) const {
    if (precision_ == v1::PRECISION_BF16) {
      info.kernel = absl::StrCat("own:", ActiveBf16Kernels()->name);
    }
    return info;
  }
  WinogradShape Shape() const { return WinogradShapeOf(layer_, images_, relu_, pool_); }

  // Calls f for each part of what is to be one call of about half a millisecond, with its share of
  // `whole`.
  template <typename F>
  void ForEachRange(const CallInfo& whole, F f) const {
    const WinogradShape shape = Shape();
    const int64_t tiles = WinogradTiles(shape), blocks = (tiles + shape.block - 1) / shape.block;
    const auto wanted =
        static_cast<int64_t>(static_cast<double>(whole.flop) / kWinogradSpeed / kCallFlop + 0.5);
    const int64_t calls = std::clamp<int64_t>(wanted, 1, blocks);
    for (int64_t i = 0; i < calls; ++i) {
      const TileRange range{std::min(blocks * i / calls * shape.block, tiles),
                            std::min(blocks * (i + 1) / calls * shape.block, tiles)};
      f(ShareOf(whole, range.begin, range.end, tiles), range);
    }
  }

  const v1::Precision precision_;
  const WinogradKernels& kernels_;
};

// Where the layer pads its images, the kernels get copies with the zeros around them.
class NarrowConvolution : public OwnConvolution {
 public:
  using OwnConvolution::OwnConvolution;

  int64_t scratch_bytes() const override {
    return images_ * PaddedImage(layer_) * static_cast<int64_t>(sizeof(float));
  }

  absl::Status Pack(const float* kernel, const float* bias_from, float* packed) const override {
    ToKernelOrder(layer_, kernel, packed);
    if (bias >= 0) CopyBias(bias_from, packed + kernel_size());
    return absl::OkStatus();
  }

  void Bind(const Binding& b) const override {
    const Window& w = layer_.window;
    NarrowShape shape{images_,
                      layer_.in.height + w.pad_top + w.pad_bottom,
                      layer_.in.width + w.pad_left + w.pad_right,
                      layer_.in.channels,
                      layer_.out.height,
                      layer_.out.width,
                      layer_.out.channels,
                      w.kernel_h,
                      w.kernel_w,
                      relu_,
                      pool_};
    const float* bias_data = bias >= 0 ? b.weights + kernel_size() : nullptr;
    uint8_t* const index = Index(b);
    float* const scratch = static_cast<float*>(b.scratch);
    b.forward->push_back(
        {Info("forward", "hwio", 1, 2 * PaddedImage(layer_), packed_size()),
         [this, shape, bias_data, index, scratch, x = b.x, y = b.y, w = b.weights](MicroBatch&) {
           ActiveKernels().narrow_forward(shape, Padded(x, scratch), w, bias_data, y, index);
         }});
    if (!training_) return;
    shape.relu = masks();
    b.backward->push_back(
        {Info("backward_weights", "hwio", 1,
              (masks() ? 2 * out_elements : 0) + 2 * PaddedImage(layer_), packed_size()),
         [this, shape, index, scratch, x = b.x, y = b.y, dy = b.dy,
          offset = b.gradient_offset](MicroBatch& batch) {
           float* const dw = batch.gradient + offset;
           ActiveKernels().narrow_backward(shape, Padded(x, scratch), dy, y, index, dw,
                                           bias >= 0 ? dw + kernel_size() : nullptr);
         }});
  }

 private:
  // The images with their padding: `x`, or what is made of them in `scratch`.
  const float* Padded(const float* x, float* scratch) const {
    if (PaddedImage(layer_) == 0) return x;
    const Window& w = layer_.window;
    const int64_t channels = layer_.in.channels, row = layer_.in.width * channels;
    const int64_t left = w.pad_left * channels, right = w.pad_right * channels;
    const int64_t padded_row = left + row + right;
    float* to = scratch;
    const auto zeros = [&to](int64_t n) {
      std::memset(to, 0, n * sizeof(float));
      to += n;
    };
    for (int64_t n = 0; n < images_; ++n) {
      zeros(w.pad_top * padded_row);
      for (int h = 0; h < layer_.in.height; ++h, x += row) {
        zeros(left);
        std::memcpy(to, x, row * sizeof(float));
        to += row;
        zeros(right);
      }
      zeros(w.pad_bottom * padded_row);
    }
    return scratch;
  }
};

}  // namespace

FusedLayers Fuse(const Graph& graph, size_t layer, bool pools) {
  const std::vector<GraphLayer>& layers = graph.layers();
  FusedLayers fused;
  size_t next = layer + 1;
  const v1::Activation activation = layers[layer].activation;
  fused.relu = activation == v1::ACTIVATION_RELU;
  if (activation == v1::ACTIVATION_UNSPECIFIED && next < layers.size() &&
      layers[next].kind == LayerKind::kActivation &&
      layers[next].activation == v1::ACTIVATION_RELU) {
    fused.relu = true;
    ++next;
  }
  fused.layers = next - layer;
  if (!pools || next == layers.size()) return fused;
  if (!fused.relu && activation != v1::ACTIVATION_UNSPECIFIED) return fused;
  const GraphLayer& pool = layers[next];
  const Window& w = pool.window;
  const bool fits = pool.kind == LayerKind::kMaxPool && w.kernel_h == 2 && w.kernel_w == 2 &&
                    w.stride_h == 2 && w.stride_w == 2 && w.dilation_h == 1 && w.dilation_w == 1 &&
                    w.pad_top == 0 && w.pad_left == 0 && pool.out.height == pool.in.height / 2 &&
                    pool.out.width == pool.in.width / 2;
  if (fits) {
    fused.pool = &pool;
    ++fused.layers;
  }
  return fused;
}

OwnConvolutionFloats FloatsOf(const GraphLayer& layer, ConvolutionKernel kernel, bool training,
                              v1::Precision precision) {
  const int64_t filters = PaddedUnits(layer.out.channels);
  const int64_t weights =
      layer.in.channels * filters * layer.window.kernel_h * layer.window.kernel_w;
  const int64_t bias = layer.bias >= 0 ? filters : 0;
  if (kernel == ConvolutionKernel::kNarrow) {
    return {.packed = weights + bias, .image_scratch = PaddedImage(layer)};
  }
  const int64_t points = PointFloats(layer, precision);
  return {.packed = (training ? weights : points) + bias,
          .derived = training ? 2 * points + weights : 0,
          .scratch = WinogradScratch(WinogradShapeOf(layer, 1, false, false), training)};
}

ConvolutionKernel ChooseConvolutionKernel(const Graph& graph, size_t index, bool first) {
  const GraphLayer& layer = graph.layers()[index];
  const Window& w = layer.window;
  if (layer.kind != LayerKind::kConv2D || layer.groups != 1 || w.stride_h != 1 || w.stride_w != 1 ||
      w.dilation_h != 1 || w.dilation_w != 1) {
    return ConvolutionKernel::kOneDnn;
  }
  // Of one channel it is faster than oneDNN's kernels, and with a pool much faster; of more without
  // one it is no faster than those, and slower where lanes are idle.
  if (first && (layer.in.channels == 1 ||
                (layer.in.channels <= kMostNarrowChannels &&
                 (layer.out.channels % kBlock == 0 || Fuse(graph, index, true).pool != nullptr)))) {
    return ConvolutionKernel::kNarrow;
  }
  const int64_t points = int64_t{layer.in.channels} * layer.out.channels;
  if (w.kernel_h == 3 && w.kernel_w == 3 && layer.in.channels % kBlock == 0 &&
      layer.out.channels % kBlock == 0 && points <= kMostPoints &&
      points <= kMostPointsATile * WinogradTiles(WinogradShapeOf(layer, 1, false, false))) {
    return ConvolutionKernel::kWinograd;
  }
  return ConvolutionKernel::kOneDnn;
}

WinogradShape WinogradShapeOf(const GraphLayer& layer, int64_t images, bool relu, bool pool) {
  return {images,
          layer.in.height,
          layer.in.width,
          layer.in.channels,
          layer.out.height,
          layer.out.width,
          layer.out.channels,
          layer.window.pad_top,
          layer.window.pad_left,
          relu,
          pool,
          BlockTiles(layer.in.channels, layer.out.channels)};
}

std::unique_ptr<Operation> NewOwnConvolution(const GraphLayer& layer, ConvolutionKernel kernel,
                                             const PlanOptions& options, const FusedLayers& fused) {
  if (kernel == ConvolutionKernel::kNarrow) {
    return std::make_unique<NarrowConvolution>(layer, options, fused);
  }
  return std::make_unique<WinogradConvolution>(layer, options, fused);
}

}  // namespace convd
