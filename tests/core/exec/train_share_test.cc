#include "core/exec/train_share.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace convd
