#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "core/dnn/engine_info.h"
#include "core/dnn/kernels.h"
#include "core/dnn/operation.h"
#include "core/dnn/weight_reorder.h"

// Convolution by oneDNN: bias and ReLU fused forward, gradients backward; in bf16 with copies of
// what forward reads and of the gradient that backward gets.

namespace convd {
namespace {

using dnnl::memory;
using Arguments = std::unordered_map<int, memory>;

int64_t Floats(const memory::desc& desc) { return (static_cast<int64_t>(desc.get_size()) + 3) / 4; }
int64_t RoundedUp(int64_t floats) { return (floats + 15) / 16 * 16; }

memory At(const memory::desc& desc, const void* data) {
  return memory(desc, CpuEngine(), const_cast<void*>(data));  // oneDNN has no const memory
}

class Convolution : public Operation {
 public:
  Convolution(const GraphLayer& layer, Shape in, const PlanOptions& options, bool relu)
      : Operation(layer.name), channels_(layer.in.channels), training_(options.training) {
    shape_.images = options.images;
    shape_.in = in;  // as it lies in memory: channels may be padded
    shape_.out = layer.out;
    shape_.window = layer.window;
    shape_.groups = layer.groups;
    shape_.bias = layer.bias >= 0;
    shape_.relu = relu;
    shape_.bf16 = options.precision == v1::PRECISION_BF16;
    kernel = layer.kernel;
    bias = layer.bias;
    in_elements = in.elements();
    out_elements = layer.out.elements();
  }

  bool has_relu() const override { return shape_.relu; }

  void Prepare() override {
    // oneDNN has good bf16 kernels for fewer shapes; f32 is the better of what is left then. Asked
    // of one image, so that plans of all sizes agree.
    if (shape_.bf16) {
      const int64_t images = std::exchange(shape_.images, 1);
      try {
        Choose();
        shape_.bf16 = Planned();
      } catch (const dnnl::error&) {
        shape_.bf16 = false;
      }
      shape_.images = images;
    }
    Choose();
    forward_primitive_.emplace(*forward_);
    scratch_bytes_ = forward_->scratchpad_desc().get_size();
    if (!training_) return;
    backward_weights_primitive_.emplace(*backward_weights_);
    scratch_bytes_ =
        std::max<int64_t>(scratch_bytes_, backward_weights_->scratchpad_desc().get_size());
    const memory::desc gradient = backward_weights_->diff_weights_desc();
    if (!SameLayout(gradient, kept_)) {
      gradient_reorder_ = std::make_shared<const WeightReorder>(gradient, kept_);
    }
    if (shape_.bf16) derive_forward_.emplace(kept_, forward_->weights_desc());
    if (needs_dx) {
      backward_data_primitive_.emplace(*backward_data_);
      derive_backward_.emplace(kept_, backward_data_->weights_desc());
      scratch_bytes_ =
          std::max<int64_t>(scratch_bytes_, backward_data_->scratchpad_desc().get_size());
    }
  }

  int64_t scratch_bytes() const override { return scratch_bytes_; }
  int64_t kernel_size() const { return RoundedUp(Floats(kept_)); }
  int64_t packed_size() const override {
    return kernel_size() + (shape_.bias ? RoundedUp(shape_.out.channels) : 0);
  }
  int64_t derived_size() const override {
    return derived_forward() +
           (backward_data_ ? RoundedUp(Floats(backward_data_->weights_desc())) : 0);
  }

  absl::Status Pack(const float* kernel, const float* bias, float* packed) const override {
    AlignedBuffer canonical(CanonicalSize());
    ForEachKernel([&](int64_t dense, int64_t padded, int64_t n) {
      std::memcpy(canonical.data() + padded, kernel + dense, n * sizeof(float));
    });
    WeightReorder(shape_.canonical_weights(), kept_)(canonical.data(), packed);
    if (shape_.bias) std::memcpy(packed + kernel_size(), bias, shape_.out.channels * sizeof(float));
    return absl::OkStatus();
  }

  void Unpack(const float* packed, float* kernel, float* bias) const override {
    AlignedBuffer canonical(CanonicalSize());
    WeightReorder(kept_, shape_.canonical_weights())(packed, canonical.data());
    ForEachKernel([&](int64_t dense, int64_t padded, int64_t n) {
      std::memcpy(kernel + dense, canonical.data() + padded, n * sizeof(float));
    });
    if (shape_.bias) std::memcpy(bias, packed + kernel_size(), shape_.out.channels * sizeof(float));
  }

  void Derive(const float* packed, float* derived) const override {
    if (derive_forward_) (*derive_forward_)(packed, derived);
    if (derive_backward_) (*derive_backward_)(packed, derived + derived_forward());
  }

  void Bind(const Binding& b) const override {
    const Factor source = FactorOf(b.x, shape_.images * in_elements, b);
    Arguments arguments = {
        {DNNL_ARG_SRC, At(shape_.source(), source.data)},
        {DNNL_ARG_WEIGHTS, At(forward_->weights_desc(), derive_forward_ ? b.derived : b.weights)},
        {DNNL_ARG_DST, At(shape_.destination(), b.y)},
        {DNNL_ARG_SCRATCHPAD, At(forward_->scratchpad_desc(), b.scratch)}};
    if (shape_.bias)
      arguments.insert({DNNL_ARG_BIAS, At(shape_.bias_desc(), b.weights + kernel_size())});
    b.forward->push_back(
        {Info("forward", *forward_, forward_->weights_desc(), shape_.bias),
         [primitive = *forward_primitive_, arguments, source, stream = b.stream](MicroBatch&) {
           source.Round();
           primitive.execute(*stream, arguments);
         }});
    if (!training_) return;
    if (masks_relu) {
      const int64_t n = shape_.images * out_elements;
      b.backward->push_back(
          {OwnCall(name(), "backward_relu", "nhwc", 0, 3 * n),
           [n, y = b.y, dy = b.dy](MicroBatch&) { ActiveKernels().relu_mask(n, y, dy); }});
    }
    const Factor gradient = FactorOf(b.dy, shape_.images * out_elements, b);
    BindBackwardWeights(b, source, gradient);
    if (!backward_data_ || b.dx == nullptr) return;
    Arguments data = {
        {DNNL_ARG_DIFF_SRC, At(shape_.source_gradient(), b.dx)},
        {DNNL_ARG_WEIGHTS, At(backward_data_->weights_desc(), b.derived + derived_forward())},
        {DNNL_ARG_DIFF_DST, At(shape_.destination_gradient(), gradient.data)},
        {DNNL_ARG_SCRATCHPAD, At(backward_data_->scratchpad_desc(), b.scratch)}};
    b.backward->push_back({Info("backward_data", *backward_data_, backward_data_->weights_desc()),
                           [primitive = *backward_data_primitive_, data,
                            stream = b.stream](MicroBatch&) { primitive.execute(*stream, data); }});
  }

  bool uses_reference_kernel() const override {
    return IsReferenceKernel(forward_->impl_info_str()) ||
           (backward_weights_ && IsReferenceKernel(backward_weights_->impl_info_str())) ||
           (backward_data_ && IsReferenceKernel(backward_data_->impl_info_str()));
  }

 private:
  // A factor of products as the primitives read it: an f32 array, or its copy in bf16.
  struct Factor {
    const float* from;
    void* data;
    int64_t n;
    // Makes the copy where there is one.
    void Round() const {
      if (data != from) ActiveBf16Kernels()->from_float(n, from, static_cast<uint16_t*>(data));
    }
  };
  Factor FactorOf(float* from, int64_t n, const Binding& b) const {
    if (!shape_.bf16) return {from, from, n};
    b.extra->emplace_back((n + 1) / 2);
    return {from, b.extra->back().data(), n};
  }

  // The kernels, and the layout that weights are kept in.
  void Choose() {
    backward_weights_.reset();
    backward_data_.reset();
    forward_.emplace(ConvolutionForward(shape_, training_));
    kept_ = forward_->weights_desc();
    if (!training_) return;
    if (needs_dx) backward_data_.emplace(ConvolutionBackwardData(shape_, *forward_));
    if (shape_.bf16) {
      // Weights are kept as their gradient comes, and rounded for forward and backward.
      backward_weights_.emplace(
          ConvolutionBackwardWeights(shape_, shape_.any_weights_gradient(), *forward_));
      kept_ = backward_weights_->diff_weights_desc();
      return;
    }
    // The gradient is best made in the layout that the weights are kept in; where oneDNN can't, or
    // only by its reference, it makes it in its own and a reorder follows.
    try {
      backward_weights_.emplace(ConvolutionBackwardWeights(shape_, kept_, *forward_));
      if (IsReferenceKernel(backward_weights_->impl_info_str())) backward_weights_.reset();
    } catch (const dnnl::error&) {
      backward_weights_.reset();
    }
    if (!backward_weights_) {
      backward_weights_.emplace(
          ConvolutionBackwardWeights(shape_, shape_.any_weights_gradient(), *forward_));
    }
  }

  bool Planned() const {
    const std::string isa = InstructionSet();
    const auto planned = [&](const auto& primitive) {
      return !primitive || IsPlannedKernel(primitive->impl_info_str(), isa, false);
    };
    return planned(forward_) && planned(backward_weights_) && planned(backward_data_);
  }

  // Floats of the weights that are derived for forward, before those for backward.
  int64_t derived_forward() const {
    return derive_forward_ ? RoundedUp(Floats(forward_->weights_desc())) : 0;
  }

  // The three passes work on the same arrays, one of them written, and need the same FLOP.
  template <typename PrimitiveDesc>
  CallInfo Info(const char* pass, const PrimitiveDesc& primitive, const memory::desc& weights,
                bool bias = false) const {
    const int64_t flop = 2 * shape_.images * out_elements * (channels_ / shape_.groups) *
                         shape_.window.kernel_h * shape_.window.kernel_w;
    const int64_t floats = shape_.images * (in_elements + out_elements) + Floats(weights) +
                           (bias ? shape_.out.channels : 0);
    return OneDnnCall(name(), pass, "nhwc, weights " + LayoutName(weights), flop, floats,
                      primitive.impl_info_str());
  }

  int64_t CanonicalSize() const {
    return int64_t{shape_.out.channels} * (shape_.in.channels / shape_.groups) *
           shape_.window.kernel_h * shape_.window.kernel_w;
  }

  // Calls f(offset in the graph's kernel, offset in the padded one, length) for the stretches both
  // have.
  template <typename F>
  void ForEachKernel(F f) const {
    const int64_t window = int64_t{shape_.window.kernel_h} * shape_.window.kernel_w;
    const int64_t dense = channels_ / shape_.groups * window,
                  padded = shape_.in.channels / shape_.groups * window;
    for (int64_t o = 0; o < shape_.out.channels; ++o) f(o * dense, o * padded, dense);
  }

  void BindBackwardWeights(const Binding& b, const Factor& source, const Factor& rounded) const {
    const memory::desc gradient_desc = backward_weights_->diff_weights_desc();
    float* own = nullptr;  // where the gradient isn't made in the weights' layout
    if (gradient_reorder_) {
      b.extra->emplace_back(Floats(gradient_desc));
      own = b.extra->back().data();
    }
    memory kernel_gradient = At(gradient_desc, own);
    Arguments arguments = {
        {DNNL_ARG_SRC, At(shape_.source(), source.data)},
        {DNNL_ARG_DIFF_DST, At(shape_.destination_gradient(), rounded.data)},
        {DNNL_ARG_DIFF_WEIGHTS, kernel_gradient},
        {DNNL_ARG_SCRATCHPAD, At(backward_weights_->scratchpad_desc(), b.scratch)}};
    b.backward->push_back(
        {Info("backward_weights", *backward_weights_, gradient_desc),
         [=, primitive = *backward_weights_primitive_, stream = b.stream,
          reorder = gradient_reorder_, offset = b.gradient_offset](MicroBatch& batch) mutable {
           float* to = batch.gradient + offset;
           rounded.Round();
           if (reorder) {
             primitive.execute(*stream, arguments);
             (*reorder)(own, to);
           } else {
             kernel_gradient.set_data_handle(to);
             primitive.execute(*stream, arguments);
           }
         }});
    if (!shape_.bias) return;
    // oneDNN sums the bias's gradient in plain loops, which took 8% of an epoch.
    const int64_t pixels = shape_.images * shape_.out.height * shape_.out.width;
    const int64_t channels = shape_.out.channels;
    b.backward->push_back({OwnCall(name(), "backward_bias", "nhwc", 0, (pixels + 1) * channels),
                           [pixels, channels, dy = b.dy,
                            offset = b.gradient_offset + kernel_size()](MicroBatch& batch) {
                             ActiveKernels().sum_rows(pixels, channels, dy,
                                                      batch.gradient + offset);
                           }});
  }

  ConvolutionShape shape_;
  const int channels_;  // of the layer, without padding
  const bool training_;
  int64_t scratch_bytes_ = 0;
  std::optional<dnnl::convolution_forward::primitive_desc> forward_;
  std::optional<dnnl::convolution_forward> forward_primitive_;
  std::optional<dnnl::convolution_backward_weights::primitive_desc> backward_weights_;
  std::optional<dnnl::convolution_backward_weights> backward_weights_primitive_;
  memory::desc kept_;  // how packed weights lie
  std::optional<WeightReorder> derive_forward_, derive_backward_;
  std::shared_ptr<const WeightReorder> gradient_reorder_;  // also of what is bound
  std::optional<dnnl::convolution_backward_data::primitive_desc> backward_data_;
  std::optional<dnnl::convolution_backward_data> backward_data_primitive_;
};

}  // namespace

std::unique_ptr<Operation> NewConvolution(const GraphLayer& layer, Shape in,
                                          const PlanOptions& options, bool relu) {
  return std::make_unique<Convolution>(layer, in, options, relu);
}

}  // namespace convd
