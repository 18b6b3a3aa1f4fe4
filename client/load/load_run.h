#ifndef CONVD_CLIENT_LOAD_LOAD_RUN_H_
#define CONVD_CLIENT_LOAD_LOAD_RUN_H_

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "client/load/arrivals.h"
#include "client/load/latency_histogram.h"
#include "client/load/load_target.h"
#include "core/time/clock.h"

namespace convd {

struct LoadPlan {
  // Closed loop: calls kept under way. Open loop: at most so many; more are dropped and counted.
  int in_flight = 1;
  double rate = 0;  // calls a second, whether answers come or not (open loop); 0: closed loop
  ArrivalKind arrivals = ArrivalKind::kPoisson;
  uint64_t seed = 1;                          // of the arrivals
  absl::Duration warm_up = absl::Seconds(1);  // load that isn't measured
  absl::Duration measured = absl::Seconds(10);
  absl::Duration grace = absl::Seconds(10);  // for what is under way at the end; then cancelled
};

struct LoadResult {
  absl::Duration measured;  // less than planned where it was stopped
  // Of calls that ended well. In a closed loop of those that ended in the time measured, from their
  // beginning; in an open loop of those whose time to begin was in it, from that time: what a late
  // answer holds up counts, too.
  LatencyHistogram latency;
  LatencyHistogram lateness;  // open loop: how long after its time each call began
  int64_t dropped = 0;        // open loop: no room when their time had come
  std::map<absl::StatusCode, int64_t> errors;
  LatencyHistogram refusals;  // of those that are RESOURCE_EXHAUSTED, counted as latency is
  absl::Status first_error;

  double calls_per_second() const;
};

// One load of one target. Poll() and Stop() are for its thread; RunLoad cranks it by the clock,
// tests by hand. The plan's slots are the target's first ones.
class LoadRun final : public LoadObserver {
 public:
  // REQUIRES: plan.in_flight <= target.slots(). Target and clock outlive it.
  LoadRun(const LoadPlan& plan, LoadTarget& target, const Clock& clock);

  // Begins what is due, and returns how long nothing more is; none when nothing ever will be.
  std::optional<absl::Duration> Poll() ABSL_LOCKS_EXCLUDED(mu_);
  // Nothing begins from now on, and what was measured ends now, unless it has already; errors don't
  // count any more.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);
  // Waits (real time) until nothing is under way; false where something still is.
  bool AwaitIdle(absl::Duration patience) ABSL_LOCKS_EXCLUDED(mu_);
  // REQUIRES: nothing is under way or begins any more.
  LoadResult TakeResult() ABSL_LOCKS_EXCLUDED(mu_);

  void OnEnd(int slot, const absl::Status& status) override ABSL_LOCKS_EXCLUDED(mu_);

 private:
  bool open() const { return plan_.rate > 0; }

  const LoadPlan plan_;
  LoadTarget& target_;
  const Clock& clock_;
  const absl::Duration start_;
  const absl::Duration measure_from_;
  Arrivals arrivals_;                   // Poll's thread only
  std::optional<absl::Duration> next_;  // the next arrival's time; Poll's thread only

  absl::Mutex mu_;
  bool begun_ ABSL_GUARDED_BY(mu_) = false;  // closed loop: the first calls
  absl::Duration end_ ABSL_GUARDED_BY(mu_);
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<absl::Duration> since_ ABSL_GUARDED_BY(mu_);  // a slot's: what latency counts from
  std::vector<int> free_ ABSL_GUARDED_BY(mu_);
  int under_way_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t calls_ ABSL_GUARDED_BY(mu_) = 0;
  LoadResult result_ ABSL_GUARDED_BY(mu_);
};

// Runs the plan to its end, or until `stop`, and returns when nothing is under way.
LoadResult RunLoad(const LoadPlan& plan, LoadTarget& target, const absl::Notification& stop);

}  // namespace convd

#endif  // CONVD_CLIENT_LOAD_LOAD_RUN_H_
