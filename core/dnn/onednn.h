#ifndef CONVD_CORE_DNN_ONEDNN_H_
#define CONVD_CORE_DNN_ONEDNN_H_

#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <string_view>

#include "core/nn/graph.h"

namespace convd {

// What differs between oneDNN 2.6 and 3.x: onednn_v2.cc or onednn_v3.cc is compiled, by what Debian
// has. These throw dnnl::error, as oneDNN does; CatchOneDnn in plan.cc turns it into a Status.

// A convolution over `images` NHWC images. Source and destination are plain NHWC on every
// instruction set (as fast as the blocked layouts where measured: docs/architecture.md); the layout
// of the weights is oneDNN's choice.
struct ConvolutionShape {
  int64_t images = 0;
  Shape in, out;
  Window window;
  int groups = 1;
  bool bias = false;
  bool relu = false;  // fused into forward
  bool bf16 = false;  // factors of products are bf16, all else is f32

  // Factors: what forward reads, and backward's gradient of the destination.
  dnnl::memory::desc source() const;
  dnnl::memory::desc destination_gradient() const;
  dnnl::memory::desc any_weights() const;
  // What is computed, in f32.
  dnnl::memory::desc destination() const;
  dnnl::memory::desc source_gradient() const;
  dnnl::memory::desc any_weights_gradient() const;
  dnnl::memory::desc bias_desc() const;
  // In the canonical order {[groups,] filters, channels, kernel_h, kernel_w}, f32.
  dnnl::memory::desc canonical_weights() const;
};

// A window in oneDNN's terms: it counts a dilation of 1 as 0.
struct ConvolutionGeometry {
  explicit ConvolutionGeometry(const Window& window);
  dnnl::memory::dims stride, dilation, pad_begin, pad_end;
};

// The kind whose backward works from the output, so that an activation may overwrite its input.
dnnl::algorithm ActivationAlgorithm(v1::Activation activation);

// n floats in a row.
dnnl::memory::desc FlatDesc(int64_t n);

const dnnl::engine& CpuEngine();

dnnl::convolution_forward::primitive_desc ConvolutionForward(const ConvolutionShape& shape,
                                                             bool training);
dnnl::convolution_backward_data::primitive_desc ConvolutionBackwardData(
    const ConvolutionShape& shape, const dnnl::convolution_forward::primitive_desc& hint);
// `weights` is the layout wanted for the gradient; CpuEngine() may have no kernel for it:
// dnnl::error.
dnnl::convolution_backward_weights::primitive_desc ConvolutionBackwardWeights(
    const ConvolutionShape& shape, const dnnl::memory::desc& weights,
    const dnnl::convolution_forward::primitive_desc& hint);

// An elementwise activation over n floats; backward works from the forward's output.
dnnl::eltwise_forward::primitive_desc ActivationForward(v1::Activation activation, float alpha,
                                                        int64_t n);
dnnl::eltwise_backward::primitive_desc ActivationBackward(
    v1::Activation activation, float alpha, int64_t n,
    const dnnl::eltwise_forward::primitive_desc& hint);

bool SameLayout(const dnnl::memory::desc& a, const dnnl::memory::desc& b);

// How a descriptor lays its elements out, in oneDNN's own terms:
// https://uxlfoundation.github.io/oneDNN/dev_guide_understanding_memory_formats.html
struct Blocking {
  dnnl::memory::dims dims, strides;  // a stride is between blocks where the dimension is blocked
  dnnl::memory::dims inner_blocks, inner_dimensions;  // outermost first
  bool padded = false;  // room for whole blocks is more than the elements fill
  bool bf16 = false;    // else f32
};
// Throws dnnl::error where the layout isn't made of blocks.
Blocking BlockingOf(const dnnl::memory::desc& desc);

// True for the kernels that oneDNN falls back to when it has no good one.
bool IsReferenceKernel(const std::string& impl_info);

// True for the kernels that a plan counts on: generated code ("jit", "brg...") that uses the
// instruction set's whole vectors; an elementwise one may be any generated code. `impl_info` is
// impl_info_str() of oneDNN 2.x or 3.x, `instruction_set` InstructionSet().
bool IsPlannedKernel(std::string_view impl_info, std::string_view instruction_set,
                     bool elementwise);

// A layout in oneDNN's letters: dimensions from the outermost in, a capital for one that is in
// blocks, then the blocks: "Acdb16a". "any" where it isn't made of blocks.
std::string LayoutName(const dnnl::memory::desc& desc);

}  // namespace convd

#endif  // CONVD_CORE_DNN_ONEDNN_H_
