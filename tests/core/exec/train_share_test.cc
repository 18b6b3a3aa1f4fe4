#include "core/exec/train_share.h"

#include <gtest/gtest.h>

#include <array>

namespace convd {
namespace {

constexpr absl::Duration kCall = absl::Microseconds(500);

// The share of training where both always want the worker: predictions of `prediction` each, and
// calls of half a millisecond.
double ShareUnderAFlood(double share, absl::Duration prediction) {
  TrainShare worker(share);
  absl::Duration trained, predicted;
  while (trained + predicted < absl::Seconds(20)) {
    if (worker.due()) {
      worker.Trained(kCall);
      trained += kCall;
    } else {
      worker.Yielded(prediction);
      predicted += prediction;
    }
  }
  return absl::FDivDuration(trained, trained + predicted);
}

TEST(TrainShare, GivesTrainingItsShareUnderAFlood) {
  for (double share : {0.1, 0.25, 0.5, 0.9}) {
    for (int microseconds : {5, 50, 300, 1000}) {
      EXPECT_NEAR(ShareUnderAFlood(share, absl::Microseconds(microseconds)), share, 0.02 * share)
          << share << " " << microseconds;
    }
  }
}

TEST(TrainShare, NeverHasATurnWithoutAShare) {
  EXPECT_EQ(ShareUnderAFlood(0, absl::Milliseconds(1)), 0);
}

TEST(TrainShare, LeavesALonePredictionItsTurn) {
  TrainShare worker(0.1);
  for (int i = 0; i < 1000; ++i) {
    worker.Yielded(absl::Microseconds(300));
    EXPECT_FALSE(worker.due()) << i;
    // A flood of one prediction in five milliseconds takes less than it may.
    if (worker.owes()) worker.Trained(absl::Milliseconds(5));
  }
  EXPECT_FALSE(worker.owes());
}

TEST(TrainShare, HoldsPredictionsUpForAFewMillisecondsAtMost) {
  TrainShare worker(0.1);
  worker.Yielded(absl::Seconds(30));  // a large evaluation
  absl::Duration held;
  for (; worker.due(); held += kCall) worker.Trained(kCall);
  EXPECT_LE(held, absl::Milliseconds(3));
}

// The shares of three lanes that always want the worker, as a worker would have it: `tasks` of
// each, the lower two with a cut every half millisecond at which the lanes above are served.
std::array<double, 3> SharesUnderAFlood(double share, std::array<absl::Duration, 3> tasks) {
  LaneShares worker(share);
  std::array<absl::Duration, 3> ran{};
  absl::Duration all;
  while (all < absl::Seconds(60)) {
    const int lane = worker.Next(0b111, 3);
    worker.Ran(lane, tasks[lane]);
    worker.Took(lane, tasks[lane], 0b111);
    ran[lane] += tasks[lane];
    all += tasks[lane];
  }
  std::array<double, 3> shares{};
  for (int i = 0; i < 3; ++i) shares[i] = absl::FDivDuration(ran[i], all);
  return shares;
}

TEST(LaneShares, GiveEvaluationsTheirShareOfAFloodOfPredictions) {
  const auto shares = SharesUnderAFlood(0.1, {absl::Microseconds(100), kCall, kCall});
  EXPECT_NEAR(shares[1], 0.1, 0.03);
  EXPECT_NEAR(shares[2], 0.1, 0.03);
}

// Such as the decoding of photos, which isn't cut.
TEST(LaneShares, LongEvaluationsHaveNoMoreThanTheirShareOfAFloodOfPredictions) {
  for (const int milliseconds : {5, 20, 100}) {
    LaneShares worker(0.1);
    absl::Duration predicted, evaluated;
    while (predicted + evaluated < absl::Seconds(60)) {
      const int lane = worker.Next(0b011, 3);
      const absl::Duration took =
          lane == 0 ? absl::Microseconds(100) : absl::Milliseconds(milliseconds);
      (lane == 0 ? predicted : evaluated) += took;
      worker.Ran(lane, took);
      worker.Took(lane, took, 0b011);
    }
    EXPECT_NEAR(absl::FDivDuration(evaluated, predicted + evaluated), 0.1, 0.005) << milliseconds;
  }
}

TEST(LaneShares, LongEvaluationsOweTrainingAllOfItsShare) {
  for (const int milliseconds : {1, 20, 50, 150}) {
    LaneShares worker(0.1);
    absl::Duration evaluated, trained;
    while (evaluated + trained < absl::Seconds(60)) {
      const int lane = worker.Next(0b110, 3);
      const absl::Duration took = lane == 1 ? absl::Milliseconds(milliseconds) : kCall;
      (lane == 1 ? evaluated : trained) += took;
      worker.Ran(lane, took);
      worker.Took(lane, took, 0b110);
    }
    EXPECT_NEAR(absl::FDivDuration(trained, evaluated + trained), 0.1, 0.005) << milliseconds;
  }
}

TEST(LaneShares, WhatALongEvaluationOwesHoldsNoPredictionUp) {
  LaneShares worker(0.1);
  worker.Took(1, absl::Milliseconds(150), 0b100);
  EXPECT_EQ(worker.Next(0b111, 3), 0);
  EXPECT_EQ(worker.Next(0b110, 3), 2);
}

TEST(LaneShares, TakeTheFirstLaneWhereNothingIsOwed) {
  const LaneShares worker(0.1);
  EXPECT_EQ(worker.Next(0b111, 3), 0);
  EXPECT_EQ(worker.Next(0b110, 3), 1);
  EXPECT_EQ(worker.Next(0b100, 3), 2);
  EXPECT_EQ(worker.Next(0b100, 2), -1);
  EXPECT_EQ(worker.Next(0, 3), -1);
}

}  // namespace
}  // namespace convd
