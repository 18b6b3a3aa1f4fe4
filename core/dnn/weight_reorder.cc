#include "core/dnn/weight_reorder.h"

#include <algorithm>
#include <cstring>

namespace convd {
namespace {

using dnnl::memory;

// Where the element at `at`, an index a dimension, lies: in elements.
int64_t Offset(const Blocking& blocking, memory::dims at) {
  int64_t offset = 0, stride = 1;
  for (size_t k = blocking.inner_blocks.size(); k-- > 0;) {
    int64_t& index = at[blocking.inner_dimensions[k]];
    offset += index % blocking.inner_blocks[k] * stride;
    index /= blocking.inner_blocks[k];
    stride *= blocking.inner_blocks[k];
  }
  for (size_t d = 0; d < at.size(); ++d) offset += at[d] * blocking.strides[d];
  return offset;
}

uint16_t ToBf16(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, sizeof(bits));
  if (f != f) return static_cast<uint16_t>(bits >> 16 | 0x40);  // still not a number
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

// The next index in row-major order; false after the last.
bool Next(const memory::dims& dims, memory::dims& at) {
  for (size_t d = dims.size(); d-- > 0;) {
    if (++at[d] < dims[d]) return true;
    at[d] = 0;
  }
  return false;
}

}  // namespace

WeightReorder::WeightReorder(const memory::desc& from, const memory::desc& to)
    : from_(from), to_(to) {
  const Blocking source = BlockingOf(from), destination = BlockingOf(to);
  if (!source.padded && !destination.padded) {
    reorder_.emplace(dnnl::reorder::primitive_desc(CpuEngine(), from, CpuEngine(), to));
    return;
  }
  const size_t element = destination.bf16 ? 2 : sizeof(float);
  if (std::max(from.get_size() / sizeof(float), to.get_size() / element) > INT32_MAX) {
    throw dnnl::error(dnnl_unimplemented, "2^31 weights or more");
  }
  to_bf16_ = destination.bf16;
  memory::dims at(source.dims.size());
  do {
    moves_.push_back(
        {static_cast<int32_t>(Offset(source, at)), static_cast<int32_t>(Offset(destination, at))});
  } while (Next(source.dims, at));
}

void WeightReorder::operator()(const float* source, float* destination) const {
  if (reorder_) {
    // oneDNN has no const memory.
    memory from(from_, CpuEngine(), const_cast<float*>(source));
    memory to(to_, CpuEngine(), destination);
    dnnl::stream stream(CpuEngine());
    reorder_->execute(stream, from, to);
    stream.wait();
    return;
  }
  std::memset(destination, 0, to_.get_size());
  if (to_bf16_) {
    uint16_t* const halves = reinterpret_cast<uint16_t*>(destination);
    for (const Move& move : moves_) halves[move.to] = ToBf16(source[move.from]);
    return;
  }
  for (const Move& move : moves_) destination[move.to] = source[move.from];
}

}  // namespace convd
