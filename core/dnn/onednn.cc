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

const dnnl::engine& CpuEngine() {
  static const dnnl::engine* const engine = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *engine;
}

bool SameLayout(const memory::desc& a, const memory::desc& b) { return a == b; }

bool IsReferenceKernel(const std::string& impl_info) {
  return impl_info.find("ref") != std::string::npos;
}

}  // namespace convd
