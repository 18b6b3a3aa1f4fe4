#ifndef CONVD_CORE_DNN_WEIGHT_REORDER_H_
#define CONVD_CORE_DNN_WEIGHT_REORDER_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "core/dnn/onednn.h"

namespace convd {

// Copies f32 weights from one layout into another, of f32 or bf16 (rounded to the nearest, of two
// the even one); padding becomes zero. Immutable: any thread may
// call, several at once.
//
// By oneDNN's reorder where neither layout is padded. Where one is, by a list of offsets: oneDNN
// 3.7's reorder into a blocked layout loses elements there on AVX-512 (weight_reorder_test has the
// shapes).
class WeightReorder {
 public:
  // Both of the same dimensions. Throws dnnl::error, as oneDNN does.
  WeightReorder(const dnnl::memory::desc& from, const dnnl::memory::desc& to);

  void operator()(const float* source, float* destination) const;

 private:
  struct Move {
    int32_t from, to;  // in elements
  };

  dnnl::memory::desc from_, to_;
  std::optional<dnnl::reorder> reorder_;
  std::vector<Move> moves_;
  bool to_bf16_ = false;
};

}  // namespace convd

#endif  // CONVD_CORE_DNN_WEIGHT_REORDER_H_
