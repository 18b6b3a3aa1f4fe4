#include <algorithm>

#include "core/dnn/onednn.h"

// The part of core/dnn/onednn.h for oneDNN 2.x.

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
    ops.append_eltwise(1.0f, algorithm::eltwise_relu, 0.0f, 0.0f);
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
  const dnnl::convolution_forward::desc desc(kind, algorithm::convolution_direct, s.source(),
                                             s.any_weights(), bias, s.destination(), g.stride,
                                             g.dilation, g.pad_begin, g.pad_end);
  return {desc, Attributes(s.relu), CpuEngine()};
}

dnnl::convolution_backward_data::primitive_desc ConvolutionBackwardData(
    const ConvolutionShape& s, const dnnl::convolution_forward::primitive_desc& hint) {
  const ConvolutionGeometry g(s.window);
  const dnnl::convolution_backward_data::desc desc(
      algorithm::convolution_direct, s.source_gradient(), s.any_weights(), s.destination_gradient(),
      g.stride, g.dilation, g.pad_begin, g.pad_end);
  return {desc, Attributes(false), CpuEngine(), hint};
}

dnnl::convolution_backward_weights::primitive_desc ConvolutionBackwardWeights(
    const ConvolutionShape& s, const memory::desc& weights,
    const dnnl::convolution_forward::primitive_desc& hint) {
  const ConvolutionGeometry g(s.window);
  const dnnl::convolution_backward_weights::desc desc(algorithm::convolution_direct, s.source(),
                                                      weights, s.destination_gradient(), g.stride,
                                                      g.dilation, g.pad_begin, g.pad_end);
  return {desc, Attributes(false), CpuEngine(), hint};
}

dnnl::eltwise_forward::primitive_desc ActivationForward(v1::Activation activation, float alpha,
                                                        int64_t n) {
  const dnnl::eltwise_forward::desc desc(prop_kind::forward_training,
                                         ActivationAlgorithm(activation), FlatDesc(n), alpha, 0.0f);
  return {desc, Attributes(false), CpuEngine()};
}

dnnl::eltwise_backward::primitive_desc ActivationBackward(
    v1::Activation activation, float alpha, int64_t n,
    const dnnl::eltwise_forward::primitive_desc& hint) {
  const dnnl::eltwise_backward::desc desc(ActivationAlgorithm(activation), FlatDesc(n), FlatDesc(n),
                                          alpha, 0.0f);
  return {desc, Attributes(false), CpuEngine(), hint};
}

Blocking BlockingOf(const memory::desc& desc) {
  const dnnl_memory_desc_t& data = desc.data;
  if (data.format_kind != dnnl_blocked) {
    throw dnnl::error(dnnl_unimplemented, "weights in a layout that isn't made of blocks");
  }
  const dnnl_blocking_desc_t& blocks = data.format_desc.blocking;
  return {{data.dims, data.dims + data.ndims},
          {blocks.strides, blocks.strides + data.ndims},
          {blocks.inner_blks, blocks.inner_blks + blocks.inner_nblks},
          {blocks.inner_idxs, blocks.inner_idxs + blocks.inner_nblks},
          !std::equal(data.dims, data.dims + data.ndims, data.padded_dims),
          data.data_type == dnnl_bf16};
}

}  // namespace convd
