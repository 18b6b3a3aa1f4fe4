#include "server/auth/call_limit.h"

#include <algorithm>

namespace convd {

CallLimit::CallLimit(const CallLimits& limits)
    : limits_(limits), calls_(std::max(1.0, limits.rate)) {}

void CallLimit::Set(const CallLimits& limits) {
  absl::MutexLock lock(&mu_);
  limits_ = limits;
  calls_ = std::min(calls_, Most());
}

CallLimits CallLimit::limits() const {
  absl::MutexLock lock(&mu_);
  return limits_;
}

double CallLimit::Most() const { return std::max(1.0, limits_.rate); }

CallLimit::Taken CallLimit::Take(absl::Duration now) {
  absl::MutexLock lock(&mu_);
  if (limits_.concurrent > 0 && running_ >= limits_.concurrent) return {Answer::kTooMany, {}};
  const Taken taken = TakeFromBucket(now);
  if (taken.answer == Answer::kTaken) ++running_;
  return taken;
}

CallLimit::Taken CallLimit::TakeMore(absl::Duration now) {
  absl::MutexLock lock(&mu_);
  return TakeFromBucket(now);
}

CallLimit::Taken CallLimit::TakeFromBucket(absl::Duration now) {
  if (limits_.rate <= 0) return {};
  calls_ = std::min(Most(), calls_ + absl::ToDoubleSeconds(now - filled_) * limits_.rate);
  filled_ = now;
  if (calls_ < 1) return {Answer::kTooFast, absl::Seconds((1 - calls_) / limits_.rate)};
  calls_ -= 1;
  return {};
}

void CallLimit::Release() {
  absl::MutexLock lock(&mu_);
  --running_;
}

}  // namespace convd
