#include "core/dnn/onednn.h"

// The part of core/dnn/onednn.h for oneDNN 3.x.

namespace convd {
namespace {

using dnnl::algorithm;
using dnnl::memory;
using dnnl::prop_kind;

dnnl::primitive_attr Attributes(bool relu) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (relu) {
    dnnl::post_ops ops;
    ops.append_eltwise(algorithm::eltwise_relu, 0.0f, 0.0f);
    attributes.set_post_ops(ops);
  }
  return attributes;
}

}  // namespace

dnnl::convolution_forward::primitive_desc ConvolutionForward(const ConvolutionShape& s,
                                                             bool training) {
  const ConvolutionGeometry g(s.window);
  const prop_kind kind = training ? prop_kind::forward_training : prop_kind::forward_inference;
  const memory::desc bias = s.bias ? s.bias_desc() : memory::desc();
  return {CpuEngine(),
          kind,
          algorithm::convolution_direct,
          s.source(),
          s.any_weights(),
          bias,
          s.destination(),
          g.stride,
          g.dilation,
          g.pad_begin,
          g.pad_end,
          Attributes(s.relu)};
}

dnnl::convolution_backward_data::primitive_desc ConvolutionBackwardData(
    const ConvolutionShape& s, const dnnl::convolution_forward::primitive_desc& hint) {
  const ConvolutionGeometry g(s.window);
  return {CpuEngine(),
          algorithm::convolution_direct,
          s.source_gradient(),
          s.any_weights(),
          s.destination_gradient(),
          g.stride,
          g.dilation,
          g.pad_begin,
          g.pad_end,
          hint,
          Attributes(false)};
}

dnnl::convolution_backward_weights::primitive_desc ConvolutionBackwardWeights(
    const ConvolutionShape& s, const memory::desc& weights,
    const dnnl::convolution_forward::primitive_desc& hint) {
  const ConvolutionGeometry g(s.window);
  return {CpuEngine(),
          algorithm::convolution_direct,
          s.source(),
          weights,
          s.destination_gradient(),
          g.stride,
          g.dilation,
          g.pad_begin,
          g.pad_end,
          hint,
          Attributes(false)};
}

dnnl::eltwise_forward::primitive_desc ActivationForward(v1::Activation activation, float alpha,
                                                        int64_t n) {
  return {CpuEngine(),
          prop_kind::forward_training,
          ActivationAlgorithm(activation),
          FlatDesc(n),
          FlatDesc(n),
          alpha,
          0.0f,
          Attributes(false)};
}

dnnl::eltwise_backward::primitive_desc ActivationBackward(
    v1::Activation activation, float alpha, int64_t n,
    const dnnl::eltwise_forward::primitive_desc& hint) {
  return {CpuEngine(),
          ActivationAlgorithm(activation),
          FlatDesc(n),
          FlatDesc(n),
          FlatDesc(n),
          alpha,
          0.0f,
          hint,
          Attributes(false)};
}

Blocking BlockingOf(const memory::desc& desc) {
  if (desc.get_format_kind() != memory::format_kind::blocked) {
    throw dnnl::error(dnnl_unimplemented, "weights in a layout that isn't made of blocks");
  }
  return {desc.get_dims(),
          desc.get_strides(),
          desc.get_inner_blks(),
          desc.get_inner_idxs(),
          desc.get_padded_dims() != desc.get_dims(),
          desc.get_data_type() == memory::data_type::bf16};
}

}  // namespace convd
