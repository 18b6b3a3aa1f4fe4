#ifndef CONVD_CORE_TRAIN_GRADIENT_SUM_H_
#define CONVD_CORE_TRAIN_GRADIENT_SUM_H_

#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "core/dnn/aligned_buffer.h"

namespace convd {

// The sum of a batch's gradients as a pairwise tree over the micro-batch index: at each level
// neighbours 2i and 2i+1 add, an odd one out moves up. Who adds depends on who comes last, the
// order of additions doesn't. The last levels, of at most four sums, are left to Sum, which many
// workers share in. Leaves that have been added are used again, so only about workers +
// log2(micro-batches) buffers are ever alive. Any thread may call; Begin and Sum only between the
// leaves of two steps.
class GradientSum {
 public:
  explicit GradientSum(int64_t floats) : floats_(floats) {}

  // REQUIRES: no leaf is out. `leaves` >= 1.
  void Begin(int64_t leaves);
  // A buffer for one leaf's gradient; the caller writes all of it, then gives it to Add. A large
  // one is made piece by piece, as Add has it.
  float* NewLeaf(absl::FunctionRef<void()> cut = [] {});
  // Large gradients are added piece by piece, with `cut` called in between, without a lock.
  void Add(int64_t leaf, float* gradient, absl::FunctionRef<void()> cut = [] {});
  // For a leaf that was not computed after all.
  void Drop(float* gradient);
  // The sum of the elements [begin, begin + size), after every leaf was added; valid until the next
  // Begin. Each element is asked for once a step.
  const float* Sum(int64_t begin, int64_t size);

 private:
  const int64_t floats_;
  absl::Mutex mutex_;
  std::vector<AlignedBuffer> buffers_ ABSL_GUARDED_BY(mutex_);
  std::vector<float*> idle_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::vector<float*>> waiting_
      ABSL_GUARDED_BY(mutex_);                     // by level and index; null: not there yet
  size_t last_level_ ABSL_GUARDED_BY(mutex_) = 0;  // of this step: the first of at most four
};

}  // namespace convd

#endif  // CONVD_CORE_TRAIN_GRADIENT_SUM_H_
