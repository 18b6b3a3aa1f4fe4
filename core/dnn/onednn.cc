#include "core/dnn/onednn.h"

namespace convd {

using dnnl::memory;

memory::desc ConvolutionShape::source() const {
  return {
      {images, in.channels, in.height, in.width}, memory::data_type::f32, memory::format_tag::nhwc};
}

memory::desc ConvolutionShape::destination() const {
  return {{images, out.channels, out.height, out.width},
          memory::data_type::f32,
          memory::format_tag::nhwc};
}

memory::desc ConvolutionShape::bias_desc() const {
  return {{out.channels}, memory::data_type::f32, memory::format_tag::x};
}

static memory::dims WeightDims(const ConvolutionShape& s) {
  if (s.groups == 1) return {s.out.channels, s.in.channels, s.window.kernel_h, s.window.kernel_w};
  return {s.groups, s.out.channels / s.groups, s.in.channels / s.groups, s.window.kernel_h,
          s.window.kernel_w};
}

memory::desc ConvolutionShape::canonical_weights() const {
  return {WeightDims(*this), memory::data_type::f32,
          groups == 1 ? memory::format_tag::oihw : memory::format_tag::goihw};
}

memory::desc ConvolutionShape::any_weights() const {
  return {WeightDims(*this), memory::data_type::f32, memory::format_tag::any};
}

ConvolutionGeometry::ConvolutionGeometry(const Window& w)
    : stride{w.stride_h, w.stride_w},
      dilation{w.dilation_h - 1, w.dilation_w - 1},
      pad_begin{w.pad_top, w.pad_left},
      pad_end{w.pad_bottom, w.pad_right} {}

dnnl::algorithm ActivationAlgorithm(v1::Activation activation) {
  switch (activation) {
    case v1::ACTIVATION_ELU:
      return dnnl::algorithm::eltwise_elu_use_dst_for_bwd;
    case v1::ACTIVATION_SIGMOID:
      return dnnl::algorithm::eltwise_logistic_use_dst_for_bwd;
    case v1::ACTIVATION_TANH:
      return dnnl::algorithm::eltwise_tanh_use_dst_for_bwd;
    default:  // ReLU is LeakyReLU with alpha 0
      return dnnl::algorithm::eltwise_relu_use_dst_for_bwd;
  }
}

memory::desc FlatDesc(int64_t n) { return {{n}, memory::data_type::f32, memory::format_tag::x}; }

const dnnl::engine& CpuEngine() {
  static const dnnl::engine* const engine = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *engine;
}

bool SameLayout(const memory::desc& a, const memory::desc& b) { return a == b; }

bool IsReferenceKernel(const std::string& impl_info) {
  return impl_info.find("ref") != std::string::npos;
}

}  // namespace convd
