#ifndef CONVD_CORE_EXEC_TRAIN_SHARE_H_
#define CONVD_CORE_EXEC_TRAIN_SHARE_H_

#include <algorithm>

#include "absl/time/time.h"

namespace convd {

// Keeps training alive on one worker while the lanes above would take all of its time: what they
// take is owed to training in part, and when some is owed, training has the next turn. One
// thread's.
class TrainShare {
 public:
  // `share` of the time in which both want the worker, 0 to 0.9; 0 lets training starve.
  explicit TrainShare(double share) : share_(share) {}

  // The lanes above ran for `took` while training waited.
  void Yielded(absl::Duration took) {
    owed_ = std::min(owed_ + share_ * took, kMost);
    if (owed_ >= (1 - share_) * kTurn) due_ = share_ > 0;
  }
  // Training ran for `took`; to be told only while it is owed something, so that what it has while
  // nobody else wants the worker doesn't count.
  void Trained(absl::Duration took) {
    owed_ = std::max(owed_ - (1 - share_) * took, -kMost);
    if (owed_ <= absl::ZeroDuration()) due_ = false;
  }
  // Training is to have the next turn, and those after it until it isn't due any more.
  bool due() const { return due_; }
  bool owes() const { return owed_ > absl::ZeroDuration(); }

 private:
  // About a call between two cuts: for less, training would get more than its share.
  static constexpr absl::Duration kTurn = absl::Microseconds(500);
  // However long a task of the lanes above is, predictions aren't held up for longer.
  static constexpr absl::Duration kMost = absl::Milliseconds(2);

  const double share_;
  absl::Duration owed_;
  bool due_ = false;
};

}  // namespace convd

#endif  // CONVD_CORE_EXEC_TRAIN_SHARE_H_
