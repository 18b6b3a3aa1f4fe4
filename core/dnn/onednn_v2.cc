#include "core/dnn/onednn.h"

// The part of core/dnn/onednn.h for oneDNN 2.x.

namespace convd {
namespace {

using dnnl::algorithm;
using dnnl::memory;
using dnnl::prop_kind;

struct Geometry {
  memory::dims stride, dilation, pad_begin, pad_end;
};

// oneDNN counts a dilation of 1 as 0.
Geometry GeometryOf(const Window& w) {
  return {{w.stride_h, w.stride_w},
          {w.dilation_h - 1, w.dilation_w - 1},
          {w.pad_top, w.pad_left},
          {w.pad_bottom, w.pad_right}};
}

dnnl::primitive_attr Attributes(bool relu) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (relu) {
    dnnl::post_ops ops;
    ops.append_eltwise(1.0f, algorithm::eltwise_relu, 0.0f, 0.0f);
    attributes.set_post_ops(ops);
  }
  return attributes;
}

// The kind whose backward works from the output, so that an activation may overwrite its input.
algorithm AlgorithmOf(v1::Activation activation) {
  switch (activation) {
    case v1::ACTIVATION_ELU:
      return algorithm::eltwise_elu_use_dst_for_bwd;
    case v1::ACTIVATION_SIGMOID:
      return algorithm::eltwise_logistic_use_dst_for_bwd;
    case v1::ACTIVATION_TANH:
      return algorithm::eltwise_tanh_use_dst_for_bwd;
    default:  // ReLU is LeakyReLU with alpha 0
      return algorithm::eltwise_relu_use_dst_for_bwd;
  }
}

memory::desc Flat(int64_t n) { return {{n}, memory::data_type::f32, memory::format_tag::x}; }

}  // namespace

dnnl::convolution_forward::primitive_desc ConvolutionForward(const ConvolutionShape& s,
                                                             bool training) {
  const Geometry g = GeometryOf(s.window);
  const prop_kind kind = training ? prop_kind::forward_training : prop_kind::forward_inference;
  const memory::desc bias = s.bias ? s.bias_desc() : memory::desc();
  const dnnl::convolution_forward::desc desc(kind, algorithm::convolution_direct, s.source(),
                                             s.any_weights(), bias, s.destination(), g.stride,
                                             g.dilation, g.pad_begin, g.pad_end);
  return {desc, Attributes(s.relu), CpuEngine()};
}

dnnl::convolution_backward_data::primitive_desc ConvolutionBackwardData(
    const ConvolutionShape& s, const dnnl::convolution_forward::primitive_desc& hint) {
  const Geometry g = GeometryOf(s.window);
  const dnnl::convolution_backward_data::desc desc(algorithm::convolution_direct, s.source(),
                                                   s.any_weights(), s.destination(), g.stride,
                                                   g.dilation, g.pad_begin, g.pad_end);
  return {desc, Attributes(false), CpuEngine(), hint};
}

dnnl::convolution_backward_weights::primitive_desc ConvolutionBackwardWeights(
    const ConvolutionShape& s, const memory::desc& weights,
    const dnnl::convolution_forward::primitive_desc& hint) {
  const Geometry g = GeometryOf(s.window);
  const memory::desc bias = s.bias ? s.bias_desc() : memory::desc();
  const dnnl::convolution_backward_weights::desc desc(algorithm::convolution_direct, s.source(),
                                                      weights, bias, s.destination(), g.stride,
                                                      g.dilation, g.pad_begin, g.pad_end);
  return {desc, Attributes(false), CpuEngine(), hint};
}

dnnl::eltwise_forward::primitive_desc ActivationForward(v1::Activation activation, float alpha,
                                                        int64_t n) {
  const dnnl::eltwise_forward::desc desc(prop_kind::forward_training, AlgorithmOf(activation),
                                         Flat(n), alpha, 0.0f);
  return {desc, Attributes(false), CpuEngine()};
}

dnnl::eltwise_backward::primitive_desc ActivationBackward(
    v1::Activation activation, float alpha, int64_t n,
    const dnnl::eltwise_forward::primitive_desc& hint) {
  const dnnl::eltwise_backward::desc desc(AlgorithmOf(activation), Flat(n), Flat(n), alpha, 0.0f);
  return {desc, Attributes(false), CpuEngine(), hint};
}

}  // namespace convd
