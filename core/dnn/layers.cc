#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/dnn/kernels.h"
#include "core/dnn/operation.h"
#include "core/random/random.h"

// Every operation but convolution: dense, pooling, dropout by the engine's own kernels, activations
// by oneDNN.

namespace convd {
namespace {

using dnnl::memory;

// For CallInfo: an image's rows and columns, or a vector.
const char* ActivationLayout(Shape shape) { return shape.height * shape.width > 1 ? "nhwc" : "nc"; }

class Dense : public Operation {
 public:
  Dense(const GraphLayer& layer, int64_t images, bool training, bool relu)
      : Operation(layer.name),
        images_(images),
        inputs_(layer.in.elements()),
        units_(layer.out.channels),
        training_(training),
        relu_(relu) {
    kernel = layer.kernel;
    bias = layer.bias;
    in_elements = inputs_;
    out_elements = units_;
  }

  bool has_relu() const override { return relu_; }
  int64_t kernel_size() const { return inputs_ * PaddedUnits(units_); }
  int64_t packed_size() const override {
    return kernel_size() + (bias >= 0 ? PaddedUnits(units_) : 0);
  }
  int64_t derived_size() const override {
    return training_ && needs_dx ? (inputs_ * units_ + 15) / 16 * 16 : 0;
  }

  absl::Status Pack(const float* from, const float* from_bias, float* packed) const override {
    const int64_t stride = PaddedUnits(units_);
    for (int64_t k = 0; k < inputs_; ++k)
      std::memcpy(packed + k * stride, from + k * units_, units_ * sizeof(float));
    if (bias >= 0) std::memcpy(packed + kernel_size(), from_bias, units_ * sizeof(float));
    return absl::OkStatus();
  }

  void Unpack(const float* packed, float* to, float* to_bias) const override {
    const int64_t stride = PaddedUnits(units_);
    for (int64_t k = 0; k < inputs_; ++k)
      std::memcpy(to + k * units_, packed + k * stride, units_ * sizeof(float));
    if (bias >= 0) std::memcpy(to_bias, packed + kernel_size(), units_ * sizeof(float));
  }

  void Derive(const float* packed, float* derived) const override {
    if (derived_size() == 0) return;
    const int64_t stride = PaddedUnits(units_);
    for (int64_t j = 0; j < units_; ++j)
      for (int64_t k = 0; k < inputs_; ++k) derived[j * inputs_ + k] = packed[k * stride + j];
  }

  void Bind(const Binding& b) const override {
    const float* bias_data = bias >= 0 ? b.weights + kernel_size() : nullptr;
    const int64_t flop = 2 * images_ * inputs_ * units_;
    const int64_t in = images_ * inputs_, out = images_ * units_;
    b.forward->push_back(
        {OwnCall(name(), "forward", "nc, weights io", flop, in + packed_size() + out),
         [this, bias_data, x = b.x, y = b.y, w = b.weights](MicroBatch&) {
           ActiveKernels().dense_forward(images_, inputs_, units_, x, w, bias_data, relu_, y);
         }});
    if (!training_) return;
    b.extra->emplace_back(images_ * PaddedUnits(units_));
    // A fused ReLU's mask reads y and writes dy as well.
    b.backward->push_back(
        {OwnCall(name(), "backward_weights", "nc, weights io", flop,
                 in + (masks_relu ? 3 : 1) * out + packed_size()),
         [this, x = b.x, y = b.y, dy = b.dy, padded = b.extra->back().data(),
          offset = b.gradient_offset](MicroBatch& batch) {
           if (masks_relu) ActiveKernels().relu_mask(images_ * units_, y, dy);
           const int64_t stride = PaddedUnits(units_);
           for (int64_t n = 0; n < images_; ++n)
             std::memcpy(padded + n * stride, dy + n * units_, units_ * sizeof(float));
           float* to = batch.gradient + offset;
           float* to_bias = bias >= 0 ? to + kernel_size() : nullptr;
           ActiveKernels().dense_backward_weights(images_, inputs_, units_, x, padded, to, to_bias);
           // The rest of the bias's block is never read, but it is summed and stepped with the
           // rest.
           if (to_bias != nullptr)
             std::memset(to_bias + units_, 0, (stride - units_) * sizeof(float));
         }});
    if (b.dx == nullptr) return;
    b.backward->push_back(
        {OwnCall(name(), "backward_data", "nc, weights oi", flop, out + inputs_ * units_ + in),
         [this, dy = b.dy, dx = b.dx, wt = b.derived](MicroBatch&) {
           ActiveKernels().dense_backward_data(images_, inputs_, units_, dy, wt, dx);
         }});
  }

 private:
  const int64_t images_, inputs_, units_;
  const bool training_, relu_;
};

class Observation : public Operation {
 public:
  Observation(const GraphLayer& layer, int64_t images, int index)
      : Operation(layer.name), images_(images), index_(index) {
    in_elements = out_elements = layer.in.elements();
  }

  bool can_run_in_place() const override { return true; }

  void Bind(const Binding& b) const override {
    b.forward->push_back({OwnCall(name(), "observe", "nhwc", 0, images_ * in_elements),
                          [this, x = b.x, y = b.y](MicroBatch& batch) {
                            // Of blank images there is nothing to know.
                            const int64_t n =
                                in_elements * static_cast<int64_t>(batch.samples.size());
                            float low = x[0], high = x[0];
                            bool finite = true;
                            for (int64_t i = 0; i < n; ++i) {
                              low = std::min(low, x[i]);
                              high = std::max(high, x[i]);
                              finite = finite && std::isfinite(x[i]);
                            }
                            if (!finite) low = high = NAN;
                            batch.ranges[2 * index_] = low;
                            batch.ranges[2 * index_ + 1] = high;
                            if (y != x) std::memcpy(y, x, n * sizeof(float));
                          }});
  }

 private:
  const int64_t images_;
  const int index_;
};

class Pool : public Operation {
 public:
  Pool(const GraphLayer& layer, int64_t images, bool training)
      : Operation(layer.name),
        max_(layer.kind == LayerKind::kMaxPool),
        training_(training),
        wide_(WideWindow(layer.window)) {
    const Window& w = layer.window;
    shape_ = {images,           layer.in.height, layer.in.width, layer.in.channels,
              layer.out.height, layer.out.width, w.kernel_h,     w.kernel_w,
              w.stride_h,       w.stride_w,      w.pad_top,      w.pad_left};
    in_elements = layer.in.elements();
    out_elements = layer.out.elements();
  }

  bool is_max_pool() const override { return max_; }
  bool backward_reads_output() const override { return pool_masks_relu; }

  void Bind(const Binding& b) const override {
    const int64_t in = shape_.images * in_elements, out = shape_.images * out_elements;
    CallInfo forward = OwnCall(name(), "forward", "nhwc", 0, in + out);
    CallInfo backward = OwnCall(name(), "backward", "nhwc", 0, in + out);
    if (!max_) {
      b.forward->push_back({std::move(forward), [this, x = b.x, y = b.y](MicroBatch&) {
                              ActiveKernels().average_pool_forward(shape_, x, y);
                            }});
      if (b.dx == nullptr) return;
      b.backward->push_back({std::move(backward), [this, dy = b.dy, dx = b.dx](MicroBatch&) {
                               ActiveKernels().average_pool_backward(shape_, dy, dx);
                             }});
      return;
    }
    if (training_ && b.dx != nullptr && wide_) return BindWide(b, forward, backward);
    uint8_t* index = nullptr;
    if (training_ && b.dx != nullptr) {
      b.extra->emplace_back((shape_.images * out_elements + 3) / 4);
      index = reinterpret_cast<uint8_t*>(b.extra->back().data());
      forward.bytes += out;  // one a position
      backward.bytes += out + (pool_masks_relu ? out * int64_t{sizeof(float)} : 0);
    }
    b.forward->push_back({std::move(forward), [this, x = b.x, y = b.y, index](MicroBatch&) {
                            ActiveKernels().max_pool_forward(shape_, x, y, index);
                          }});
    if (b.dx == nullptr) return;
    b.backward->push_back(
        {std::move(backward),
         [this, dy = b.dy, dx = b.dx, index, mask = pool_masks_relu ? b.y : nullptr](MicroBatch&) {
           ActiveKernels().max_pool_backward(shape_, dy, index, mask, dx);
         }});
  }

 private:
  // A byte doesn't say which position of the window won.
  void BindWide(const Binding& b, CallInfo& forward, CallInfo& backward) const {
    const int64_t out = shape_.images * out_elements;
    b.extra->emplace_back(out);
    int32_t* const index = reinterpret_cast<int32_t*>(b.extra->back().data());
    forward.bytes += out * int64_t{sizeof(int32_t)};
    backward.bytes += out * int64_t{sizeof(int32_t)} * (pool_masks_relu ? 2 : 1);
    b.forward->push_back({std::move(forward), [this, x = b.x, y = b.y, index](MicroBatch&) {
                            ActiveKernels().wide_max_pool_forward(shape_, x, y, index);
                          }});
    b.backward->push_back(
        {std::move(backward),
         [this, dy = b.dy, dx = b.dx, index, mask = pool_masks_relu ? b.y : nullptr](MicroBatch&) {
           ActiveKernels().wide_max_pool_backward(shape_, dy, index, mask, dx);
         }});
  }

  const bool max_, training_, wide_;
  PoolShape shape_;
};

class Dropout : public Operation {
 public:
  Dropout(const GraphLayer& layer, int layer_index, int64_t images)
      : Operation(layer.name),
        images_(images),
        rate_(layer.rate),
        purpose_index_(static_cast<uint32_t>(RandomPurpose::kDropout) << 24 |
                       static_cast<uint32_t>(layer_index)),
        layout_(ActivationLayout(layer.in)) {
    in_elements = out_elements = layer.in.elements();
  }

  void Bind(const Binding& b) const override {
    b.extra->emplace_back((images_ * in_elements + 3) / 4);
    uint8_t* keep = reinterpret_cast<uint8_t*>(b.extra->back().data());
    const float scale = 1.0f / (1.0f - rate_);
    const int64_t elements = images_ * in_elements;
    CallInfo forward = OwnCall(name(), "forward", layout_, 0, 2 * elements);
    forward.bytes += elements;  // one each for which are kept
    CallInfo backward = forward;
    backward.pass = "backward";
    b.forward->push_back(
        {std::move(forward), [this, scale, x = b.x, y = b.y, keep,
                              threshold = DropoutThreshold(rate_)](MicroBatch& batch) {
           const int64_t n = in_elements;
           const int64_t given = static_cast<int64_t>(batch.samples.size());
           for (int64_t i = 0; i < given; ++i) {
             ActiveKernels().dropout_forward(n, batch.samples[i], batch.epoch, purpose_index_,
                                             batch.seed, threshold, scale, x + i * n, y + i * n,
                                             keep + i * n);
           }
           std::memset(y + given * n, 0, (images_ - given) * n * sizeof(float));
           std::memset(keep + given * n, 0, (images_ - given) * n);
         }});
    if (b.dx == nullptr) return;
    b.backward->push_back(
        {std::move(backward), [elements, scale, dy = b.dy, dx = b.dx, keep](MicroBatch&) {
           ActiveKernels().dropout_backward(elements, keep, scale, dy, dx);
         }});
  }

 private:
  const int64_t images_;
  const float rate_;
  const uint32_t purpose_index_;
  const char* const layout_;
};

class ActivationOperation : public Operation {
 public:
  ActivationOperation(const GraphLayer& layer, int64_t images, bool training)
      : Operation(layer.name),
        training_(training),
        own_layer_(layer.kind == LayerKind::kActivation),
        n_(images * layer.out.elements()),
        layout_(ActivationLayout(layer.out)),
        forward_(ActivationForward(layer.activation, layer.alpha, n_)),
        forward_primitive_(forward_),
        backward_(ActivationBackward(layer.activation, layer.alpha, n_, forward_)),
        backward_primitive_(backward_) {
    in_elements = out_elements = layer.out.elements();
  }

  bool can_run_in_place() const override { return true; }
  bool backward_reads_output() const override { return true; }
  int64_t scratch_bytes() const override {
    return std::max(forward_.scratchpad_desc().get_size(), backward_.scratchpad_desc().get_size());
  }

  void Bind(const Binding& b) const override {
    const memory::desc flat = FlatDesc(n_);
    auto at = [&](float* data) { return memory(flat, CpuEngine(), data); };
    std::unordered_map<int, memory> forward = {
        {DNNL_ARG_SRC, at(b.x)},
        {DNNL_ARG_DST, at(b.y)},
        {DNNL_ARG_SCRATCHPAD, memory(forward_.scratchpad_desc(), CpuEngine(), b.scratch)}};
    b.forward->push_back({OneDnnCall(name(), own_layer_ ? "forward" : "forward_activation", layout_,
                                     0, 2 * n_, forward_.impl_info_str(), true),
                          [p = forward_primitive_, forward, stream = b.stream](MicroBatch&) {
                            p.execute(*stream, forward);
                          }});
    if (!training_ || b.dx == nullptr) return;
    std::unordered_map<int, memory> backward = {
        {DNNL_ARG_DST, at(b.y)},
        {DNNL_ARG_DIFF_DST, at(b.dy)},
        {DNNL_ARG_DIFF_SRC, at(b.dx)},
        {DNNL_ARG_SCRATCHPAD, memory(backward_.scratchpad_desc(), CpuEngine(), b.scratch)}};
    b.backward->push_back({OneDnnCall(name(), own_layer_ ? "backward" : "backward_activation",
                                      layout_, 0, 3 * n_, backward_.impl_info_str(), true),
                           [p = backward_primitive_, backward, stream = b.stream](MicroBatch&) {
                             p.execute(*stream, backward);
                           }});
  }

 private:
  const bool training_;
  const bool own_layer_;
  const int64_t n_;
  const char* const layout_;
  dnnl::eltwise_forward::primitive_desc forward_;
  dnnl::eltwise_forward forward_primitive_;
  dnnl::eltwise_backward::primitive_desc backward_;
  dnnl::eltwise_backward backward_primitive_;
};

}  // namespace

std::unique_ptr<Operation> NewDense(const GraphLayer& layer, int64_t images, bool training,
                                    bool relu) {
  return std::make_unique<Dense>(layer, images, training, relu);
}

std::unique_ptr<Operation> NewPool(const GraphLayer& layer, int64_t images, bool training) {
  return std::make_unique<Pool>(layer, images, training);
}

std::unique_ptr<Operation> NewObservation(const GraphLayer& layer, int64_t images, int index) {
  return std::make_unique<Observation>(layer, images, index);
}

std::unique_ptr<Operation> NewDropout(const GraphLayer& layer, int layer_index, int64_t images) {
  return std::make_unique<Dropout>(layer, layer_index, images);
}

std::unique_ptr<Operation> NewActivation(const GraphLayer& layer, int64_t images, bool training) {
  return std::make_unique<ActivationOperation>(layer, images, training);
}

}  // namespace convd
