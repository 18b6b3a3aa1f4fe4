#include "client/load/load_run.h"

#include <gmock/gmock.h>

#include <map>
#include <vector>

#include "tests/core/time/hand_clock.h"

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

// Calls end when the test says so.
class HeldCalls final : public LoadTarget {
 public:
  explicit HeldCalls(int slots) : slots_(slots) {}

  int slots() const override { return slots_; }
  void Start(int slot, int64_t call, LoadObserver& observer) override {
    EXPECT_TRUE(under_way_.emplace(slot, &observer).second) << slot;
    calls_.push_back(call);
  }
  void CancelAll() override {
    while (!under_way_.empty()) End(under_way_.begin()->first, absl::CancelledError("by us"));
  }

  void End(int slot, const absl::Status& status = absl::OkStatus()) {
    LoadObserver* const observer = under_way_.at(slot);
    under_way_.erase(slot);
    observer->OnEnd(slot, status);
  }
  int under_way() const { return static_cast<int>(under_way_.size()); }
  const std::vector<int64_t>& calls() const { return calls_; }

 private:
  const int slots_;
  std::map<int, LoadObserver*> under_way_;
  std::vector<int64_t> calls_;
};

constexpr absl::Duration kMs = absl::Milliseconds(1);

TEST(LoadRunTest, AClosedLoopBeginsACallForEachThatEndsAndMeasuresAfterTheWarmUp) {
  HandClock clock;
  HeldCalls target(3);
  LoadRun run({.in_flight = 2, .warm_up = 10 * kMs, .measured = 100 * kMs}, target, clock);
  EXPECT_EQ(run.Poll(), 110 * kMs);
  EXPECT_EQ(target.under_way(), 2);
  clock.Advance(5 * kMs);
  target.End(0);  // still warming up
  clock.Advance(10 * kMs);
  target.End(1);  // 15 ms, begun in the warm-up
  clock.Advance(20 * kMs);
  target.End(0);  // 30 ms
  EXPECT_EQ(target.under_way(), 2);
  EXPECT_THAT(target.calls(), ElementsAre(0, 1, 2, 3, 4));
  clock.Advance(80 * kMs);
  EXPECT_EQ(run.Poll(), std::nullopt);
  target.End(0);
  target.End(1);
  EXPECT_EQ(target.under_way(), 0);
  const LoadResult result = run.TakeResult();
  EXPECT_EQ(result.measured, 100 * kMs);
  EXPECT_EQ(result.latency.count(), 2);
  EXPECT_EQ(result.latency.longest(), 30 * kMs);
  EXPECT_NEAR(absl::ToDoubleMilliseconds(result.latency.Quantile(0.5)), 15, 0.1);
  EXPECT_DOUBLE_EQ(result.calls_per_second(), 20);
}

TEST(LoadRunTest, AnOpenLoopBeginsCallsByTheClockAndCountsFromTheirTime) {
  HandClock clock;
  HeldCalls target(4);
  LoadRun run({.in_flight = 4,
               .rate = 100,
               .arrivals = ArrivalKind::kConstant,
               .warm_up = absl::ZeroDuration(),
               .measured = 40 * kMs},
              target, clock);
  EXPECT_EQ(run.Poll(), 10 * kMs);
  EXPECT_EQ(target.under_way(), 1);
  // The load's own thread is late by 15 ms: two are due, and what they wait counts.
  clock.Advance(25 * kMs);
  EXPECT_EQ(run.Poll(), 5 * kMs);
  EXPECT_EQ(target.under_way(), 3);
  target.End(0);  // due at 0
  target.End(1);  // due at 10
  target.End(2);  // due at 20
  EXPECT_EQ(target.under_way(), 0);
  clock.Advance(5 * kMs);
  EXPECT_EQ(run.Poll(), std::nullopt);  // the fifth's time is the end
  clock.Advance(50 * kMs);
  target.CancelAll();
  const LoadResult result = run.TakeResult();
  EXPECT_EQ(result.latency.count(), 3);
  EXPECT_EQ(result.latency.longest(), 25 * kMs);
  EXPECT_NEAR(absl::ToDoubleMilliseconds(result.latency.Quantile(0.5)), 15, 0.1);
  EXPECT_EQ(result.lateness.longest(), 15 * kMs);
  EXPECT_THAT(result.errors, ElementsAre(Pair(absl::StatusCode::kCancelled, 1)));
}

TEST(LoadRunTest, AnOpenLoopDropsAndCountsWhatHasNoRoom) {
  HandClock clock;
  HeldCalls target(2);
  LoadRun run({.in_flight = 2,
               .rate = 1000,
               .arrivals = ArrivalKind::kConstant,
               .warm_up = 5 * kMs,
               .measured = 10 * kMs},
              target, clock);
  for (int i = 0; i < 10; ++i) {
    run.Poll();
    clock.Advance(kMs);
  }
  EXPECT_EQ(target.under_way(), 2);
  target.End(0);
  run.Poll();  // the one at 10 ms has room again
  EXPECT_EQ(target.under_way(), 2);
  clock.Advance(10 * kMs);
  EXPECT_EQ(run.Poll(), std::nullopt);
  target.CancelAll();
  // Those from 5 to 14 ms but for the one at 10.
  EXPECT_EQ(run.TakeResult().dropped, 9);
}

TEST(LoadRunTest, ErrorsAreCountedByCodeAndTheLoadGoesOn) {
  HandClock clock;
  HeldCalls target(1);
  LoadRun run({.in_flight = 1, .warm_up = absl::ZeroDuration(), .measured = absl::Seconds(1)},
              target, clock);
  run.Poll();
  clock.Advance(kMs);
  target.End(0, absl::UnavailableError("gone"));
  target.End(0, absl::UnavailableError("still gone"));
  target.End(0, absl::NotFoundError("no such model"));
  clock.Advance(2 * kMs);
  target.End(0, absl::ResourceExhaustedError("too many"));
  target.End(0);
  EXPECT_EQ(target.under_way(), 1);
  clock.Advance(absl::Seconds(20));
  target.CancelAll();  // an answer that never came
  const LoadResult result = run.TakeResult();
  EXPECT_EQ(result.latency.count(), 1);
  EXPECT_THAT(result.errors, ElementsAre(Pair(absl::StatusCode::kCancelled, 1),
                                         Pair(absl::StatusCode::kNotFound, 1),
                                         Pair(absl::StatusCode::kResourceExhausted, 1),
                                         Pair(absl::StatusCode::kUnavailable, 2)));
  EXPECT_EQ(result.first_error.message(), "gone");
  EXPECT_EQ(result.refusals.count(), 1);
  EXPECT_EQ(result.refusals.longest(), 2 * kMs);
}

TEST(LoadRunTest, StoppedItBeginsNothingAndMeasuresUntilThen) {
  HandClock clock;
  HeldCalls target(1);
  LoadRun run({.in_flight = 1, .warm_up = kMs, .measured = absl::Seconds(1)}, target, clock);
  run.Poll();
  clock.Advance(3 * kMs);
  target.End(0);
  EXPECT_FALSE(run.AwaitIdle(absl::ZeroDuration()));
  run.Stop();
  target.CancelAll();
  EXPECT_TRUE(run.AwaitIdle(absl::ZeroDuration()));
  const LoadResult result = run.TakeResult();
  EXPECT_EQ(result.measured, 2 * kMs);
  EXPECT_TRUE(result.errors.empty());
  EXPECT_DOUBLE_EQ(result.calls_per_second(), 500);
}

}  // namespace
}  // namespace convd
