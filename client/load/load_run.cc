#include "client/load/load_run.h"

#include <sys/prctl.h>

#include <algorithm>
#include <utility>

namespace convd {

double LoadResult::calls_per_second() const {
  const double seconds = absl::ToDoubleSeconds(measured);
  return seconds > 0 ? static_cast<double>(latency.count()) / seconds : 0;
}

LoadRun::LoadRun(const LoadPlan& plan, LoadTarget& target, const Clock& clock)
    : plan_(plan),
      target_(target),
      clock_(clock),
      start_(clock.Monotonic()),
      measure_from_(start_ + plan.warm_up),
      arrivals_(plan.rate, plan.arrivals, plan.seed),
      end_(measure_from_ + plan.measured),
      since_(plan.in_flight) {
  for (int slot = plan.in_flight - 1; slot >= 0; --slot) free_.push_back(slot);
}

std::optional<absl::Duration> LoadRun::Poll() {
  for (;;) {
    const absl::Duration now = clock_.Monotonic();
    int slot = 0;
    int64_t call = 0;
    {
      absl::MutexLock lock(&mu_);
      if (open()) {
        if (!next_) next_ = start_ + arrivals_.Next();
        if (*next_ >= end_) return std::nullopt;
        if (*next_ > now) return *next_ - now;
        const absl::Duration due = *std::exchange(next_, std::nullopt);
        if (free_.empty()) {
          if (due >= measure_from_) ++result_.dropped;
          continue;
        }
        since_[free_.back()] = due;
        if (due >= measure_from_) result_.lateness.Add(now - due);
      } else {
        // From then on each call's end begins the next.
        if (begun_ || free_.empty() || now >= end_) {
          begun_ = true;
          return now < end_ ? std::optional(end_ - now) : std::nullopt;
        }
        since_[free_.back()] = now;
      }
      slot = free_.back();
      free_.pop_back();
      ++under_way_;
      call = calls_++;
    }
    target_.Start(slot, call, *this);
  }
}

void LoadRun::OnEnd(int slot, const absl::Status& status) {
  const absl::Duration now = clock_.Monotonic();
  int64_t call = 0;
  {
    absl::MutexLock lock(&mu_);
    const absl::Duration since = since_[slot];
    const bool measured = open() ? since >= measure_from_ && since < end_
                                 : now >= measure_from_ && (now < end_ || !status.ok());
    if (measured && status.ok()) {
      result_.latency.Add(now - since);
    } else if (measured && !stopped_) {  // else it may have been cancelled by us
      ++result_.errors[status.code()];
      if (absl::IsResourceExhausted(status)) result_.refusals.Add(now - since);
      if (result_.first_error.ok()) result_.first_error = status;
    }
    if (open() || now >= end_) {
      free_.push_back(slot);
      --under_way_;
      return;
    }
    since_[slot] = now;
    call = calls_++;
  }
  target_.Start(slot, call, *this);
}

void LoadRun::Stop() {
  const absl::Duration now = clock_.Monotonic();
  absl::MutexLock lock(&mu_);
  end_ = std::min(end_, now);
  stopped_ = true;
}

bool LoadRun::AwaitIdle(absl::Duration patience) {
  const auto idle = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return under_way_ == 0; };
  absl::MutexLock lock(&mu_);
  return mu_.AwaitWithTimeout(absl::Condition(&idle), patience);
}

LoadResult LoadRun::TakeResult() {
  absl::MutexLock lock(&mu_);
  result_.measured = std::max(end_ - measure_from_, absl::ZeroDuration());
  return std::move(result_);
}

LoadResult RunLoad(const LoadPlan& plan, LoadTarget& target, const absl::Notification& stop) {
  // The kernel may wake a thread 50 us late to save power, which each call's latency would hold.
  prctl(PR_SET_TIMERSLACK, 1UL);
  LoadRun run(plan, target, Clock::Real());
  while (const std::optional<absl::Duration> pause = run.Poll()) {
    if (stop.WaitForNotificationWithTimeout(*pause)) {
      run.Stop();
      break;
    }
  }
  absl::Duration patience = stop.HasBeenNotified() ? absl::ZeroDuration() : plan.grace;
  while (!run.AwaitIdle(patience)) {
    // Again and again: a call that was about to begin isn't cancelled yet.
    target.CancelAll();
    patience = absl::Seconds(1);
  }
  return run.TakeResult();
}

}  // namespace convd
