#ifndef CONVD_CORE_EXEC_TRAIN_SHARE_H_
#define CONVD_CORE_EXEC_TRAIN_SHARE_H_

#include <algorithm>
#include <array>
#include <cstdint>

#include "absl/time/time.h"

namespace convd {

// Keeps a lane alive on one worker while one above it would take all of its time: what that takes
// is owed in part, and when some is owed, the lower lane has the next turn. One thread's.
class TrainShare {
 public:
  // However long a prediction computes, others aren't held up for longer.
  static constexpr absl::Duration kMostHeldUp = absl::Milliseconds(2);

  // `share` of the time in which both want the worker, 0 to 0.9; 0 lets the lower one starve. At
  // most `most` is owed.
  explicit TrainShare(double share = 0, absl::Duration most = kMostHeldUp)
      : share_(share), most_(most) {}

  // The lane above ran for `took` while this one waited.
  void Yielded(absl::Duration took) {
    owed_ = std::min(owed_ + share_ * took, most_);
    if (owed_ >= (1 - share_) * kTurn) due_ = share_ > 0;
  }
  // This one ran for `took`; to be told only while it is owed something, so that what it has while
  // nobody else wants the worker doesn't count. What a long task had too much is made up for.
  void Trained(absl::Duration took) {
    owed_ -= (1 - share_) * took;
    if (owed_ <= absl::ZeroDuration()) due_ = false;
  }
  // It is to have the next turn, and those after it until it isn't due any more.
  bool due() const { return due_; }
  bool owes() const { return owed_ > absl::ZeroDuration(); }

 private:
  // About a call between two cuts: for less, it would get more than its share.
  static constexpr absl::Duration kTurn = absl::Microseconds(500);

  double share_;
  absl::Duration most_;
  absl::Duration owed_;
  bool due_ = false;
};

// The lanes of one worker, 0 above 1 above 2: each has its share of the time that one above takes
// while it waits. What lane 0 takes is owed up to TrainShare::kMostHeldUp, what lane 1 does, whose
// tasks are longer and not in such a hurry, up to a tenth of a task of 0.2 s. One thread's.
class LaneShares {
 public:
  static constexpr int kCount = 3;

  explicit LaneShares(double share) {
    for (int lane = 1; lane < kCount; ++lane) {
      for (int above = 0; above < lane; ++above) {
        shares_[lane][above] =
            TrainShare(share, above == 0 ? TrainShare::kMostHeldUp : absl::Milliseconds(20));
      }
    }
  }

  // `lane` has a turn before `above`.
  bool due(int lane, int above) const { return shares_[lane][above].due(); }
  // Something is owed to `lane`.
  bool owes(int lane) const {
    for (int above = 0; above < lane; ++above)
      if (shares_[lane][above].owes()) return true;
    return false;
  }
  // `lane` ran a task for `took` while those of `waiting` (a bit a lane) wanted the worker.
  void Took(int lane, absl::Duration took, uint32_t waiting) {
    for (int lower = lane + 1; lower < kCount; ++lower)
      if ((waiting >> lower & 1) != 0) shares_[lower][lane].Yielded(took);
  }
  // `lane` itself ran for `ran`, without what it gave way to.
  void Ran(int lane, absl::Duration ran) {
    for (int above = 0; above < lane; ++above)
      if (shares_[lane][above].owes()) shares_[lane][above].Trained(ran);
  }
  // Which of the lanes of `waiting` above lane `below` has the next turn; -1 where there is none.
  int Next(uint32_t waiting, int below) const {
    int next = First(waiting, 0, below, -1);
    // Whoever is due before it, and who before that.
    for (int lower = next; lower >= 0; lower = First(waiting, next + 1, below, next)) next = lower;
    return next;
  }

 private:
  // The first of the lanes [begin, end) that wait; with `before`, of those that are due before it.
  int First(uint32_t waiting, int begin, int end, int before) const {
    for (int lane = begin; lane < end; ++lane) {
      if ((waiting >> lane & 1) != 0 && (before < 0 || due(lane, before))) return lane;
    }
    return -1;
  }

  std::array<std::array<TrainShare, kCount>, kCount> shares_;
};

}  // namespace convd

#endif  // CONVD_CORE_EXEC_TRAIN_SHARE_H_
