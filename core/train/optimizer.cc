#include "core/train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/types/span.h"
#include "core/data/finite.h"

namespace convd {
namespace {

// Parameters that one task steps: 64 KiB of weights, moments and gradient in all.
constexpr int64_t kShard = 4096;

}  // namespace

Optimizer::Optimizer(std::shared_ptr<const Plan> plan, const v1::Optimizer& options, float* weights,
                     float* derived, GradientSum& sum)
    : plan_(std::move(plan)),
      options_(options),
      weights_(weights),
      derived_(derived),
      sum_(sum),
      shards_left_(plan_->derive_parts()) {
  for (int i = 0; i < (options_.has_adam() ? 2 : 1); ++i)
    moments_.emplace_back(plan_->packed_size());
  for (int part = 0; part < plan_->derive_parts(); ++part) {
    const auto [first, end] = plan_->derive_range(part);
    for (int64_t begin = first; begin < end; begin += kShard)
      shards_.push_back({begin, std::min(kShard, end - begin), part});
  }
}

void Optimizer::BeginStep() {
  ++steps_;
  if (options_.has_adam()) {
    const v1::Adam& a = options_.adam();
    const double t = static_cast<double>(steps_);
    adam_.beta_1 = static_cast<float>(a.beta_1());
    adam_.one_minus_beta_1 = static_cast<float>(1 - a.beta_1());
    adam_.beta_2 = static_cast<float>(a.beta_2());
    adam_.one_minus_beta_2 = static_cast<float>(1 - a.beta_2());
    adam_.step_size = static_cast<float>(a.learning_rate() / (1 - std::pow(a.beta_1(), t)));
    adam_.inverse_root_bias = static_cast<float>(1 / std::sqrt(1 - std::pow(a.beta_2(), t)));
    adam_.epsilon = static_cast<float>(a.epsilon());
  }
  finite_.store(true, std::memory_order_relaxed);
  for (std::atomic<int64_t>& left : shards_left_) left.store(0, std::memory_order_relaxed);
  for (const Shard& shard : shards_) ++shards_left_[shard.part];
}

absl::Status Optimizer::StepShard(int64_t index) {
  const auto [begin, size, part] = shards_[index];
  const float* const g = sum_.Sum(begin, size);
  float* const w = weights_ + begin;
  float* const m = moments_[0].data() + begin;
  const bool adam = options_.has_adam();
  if (adam) {
    ActiveKernels().adam(size, adam_, g, m, moments_[1].data() + begin, w);
  } else {
    const v1::Sgd& s = options_.sgd();
    ActiveKernels().sgd(size, static_cast<float>(s.learning_rate()),
                        static_cast<float>(s.momentum()), s.nesterov(), g, m, w);
  }
  // While the shard is in the cache. A weight will never move again if its second moment isn't
  // finite; of the other moments each shows in its weight.
  const auto all_finite = [size = size](const float* values) {
    const absl::Span<const float> shard(values, size);
    return FirstNonFinite(shard) == shard.size();
  };
  if (!all_finite(w) || (adam && !all_finite(moments_[1].data() + begin))) {
    finite_.store(false, std::memory_order_relaxed);
  }
  // Whoever steps a part's last shard derives it; the others' weights are visible by this count.
  if (shards_left_[part].fetch_sub(1, std::memory_order_acq_rel) == 1) {
    return plan_->Derive(part, weights_, derived_);
  }
  return absl::OkStatus();
}

}  // namespace convd
