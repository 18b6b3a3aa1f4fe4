#ifndef CONVD_CORE_TRAIN_OPTIMIZER_H_
#define CONVD_CORE_TRAIN_OPTIMIZER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "convd/v1/model.pb.h"
#include "core/dnn/aligned_buffer.h"
#include "core/dnn/kernels.h"
#include "core/dnn/plan.h"
#include "core/train/gradient_sum.h"

namespace convd {

// Adam or SGD over a plan's packed weights, shard by shard, with its moments. Kingma and Ba 2015
// (Adam), epsilon outside the bias correction's root as PyTorch has it; momentum as PyTorch's SGD.
// Any thread may step a shard, each once a step; all else only between steps.
class Optimizer {
 public:
  // `options` are resolved (ResolveTraining). `weights` and `derived`, packed as the plan has them,
  // and `sum` are the caller's and outlive this. Throws std::bad_alloc, as containers do.
  Optimizer(std::shared_ptr<const Plan> plan, const v1::Optimizer& options, float* weights,
            float* derived, GradientSum& sum);

  int64_t shards() const { return static_cast<int64_t>(shards_.size()); }
  // REQUIRES: every leaf of the step's gradient was added to the sum.
  void BeginStep();
  // Steps the shard's weights by the gradient; of a part's last shard also makes the weights that
  // backward wants of them (Plan::Derive, whose status this is).
  absl::Status StepShard(int64_t shard);
  // Whether every weight is, after the step's shards, and will move again.
  bool finite() const { return finite_.load(std::memory_order_relaxed); }

  int64_t steps() const { return steps_; }  // so far
  void set_steps(int64_t steps) { steps_ = steps; }
  // Packed as the weights are: SGD's momentum; Adam's first moment and its second.
  const std::vector<AlignedBuffer>& moments() const { return moments_; }

 private:
  // A stretch of the packed parameters that one task steps, all of one derived part.
  struct Shard {
    int64_t begin, size;
    int part;
  };

  const std::shared_ptr<const Plan> plan_;
  const v1::Optimizer options_;
  float* const weights_;
  float* const derived_;
  GradientSum& sum_;
  std::vector<AlignedBuffer> moments_;
  std::vector<Shard> shards_;
  int64_t steps_ = 0;
  // Of the step:
  std::vector<std::atomic<int64_t>> shards_left_;  // a part
  AdamStep adam_{};
  std::atomic<bool> finite_{true};
};

}  // namespace convd

#endif  // CONVD_CORE_TRAIN_OPTIMIZER_H_
