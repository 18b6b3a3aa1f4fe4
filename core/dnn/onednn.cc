#include "core/dnn/onednn.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace convd {

using dnnl::memory;

static memory::desc Nhwc(int64_t images, Shape shape, bool bf16) {
  return {{images, shape.channels, shape.height, shape.width},
          bf16 ? memory::data_type::bf16 : memory::data_type::f32,
          memory::format_tag::nhwc};
}

memory::desc ConvolutionShape::source() const { return Nhwc(images, in, bf16); }
memory::desc ConvolutionShape::source_gradient() const { return Nhwc(images, in, false); }
memory::desc ConvolutionShape::destination() const { return Nhwc(images, out, false); }
memory::desc ConvolutionShape::destination_gradient() const { return Nhwc(images, out, bf16); }

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
  return {WeightDims(*this), bf16 ? memory::data_type::bf16 : memory::data_type::f32,
          memory::format_tag::any};
}

memory::desc ConvolutionShape::any_weights_gradient() const {
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

bool IsPlannedKernel(std::string_view impl_info, std::string_view instruction_set,
                     bool elementwise) {
  // "gemm:jit" and "x64:gemm:jit" unfold images for a product of matrices.
  const auto begins = [&](std::string_view word) {
    return impl_info.substr(0, word.size()) == word;
  };
  if (!begins("jit") && !begins("brg")) return false;
  for (const char* word : {":ref", ":gemm", ":simple"}) {
    if (impl_info.find(word) != std::string_view::npos) return false;
  }
  const bool avx512 = instruction_set.substr(0, 6) == "avx512";
  return elementwise || impl_info.find(avx512 ? "avx512" : "avx2") != std::string_view::npos;
}

std::string LayoutName(const memory::desc& desc) {
  Blocking blocks;
  try {
    blocks = BlockingOf(desc);
  } catch (const dnnl::error&) {
    return "any";
  }
  std::vector<int64_t> block(blocks.dims.size(), 1);
  std::string inner;
  for (size_t i = 0; i < blocks.inner_blocks.size(); ++i) {
    const int64_t dimension = blocks.inner_dimensions[i];
    block[dimension] *= blocks.inner_blocks[i];
    inner += std::to_string(blocks.inner_blocks[i]) + static_cast<char>('a' + dimension);
  }
  std::vector<size_t> order(blocks.dims.size());
  std::iota(order.begin(), order.end(), size_t{0});
  // Of equal strides the longer dimension lies outside; one of a single step may lie anywhere. At
  // last by their numbers.
  const auto steps = [&](size_t d) { return (blocks.dims[d] + block[d] - 1) / block[d]; };
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (blocks.strides[a] != blocks.strides[b]) return blocks.strides[a] > blocks.strides[b];
    return steps(a) != steps(b) ? steps(a) > steps(b) : a < b;
  });
  std::string name;
  for (const size_t d : order) name += static_cast<char>((block[d] > 1 ? 'A' : 'a') + d);
  return name + inner;
}

}  // namespace convd
