#ifndef CONVD_SERVER_PREDICT_STILL_WANTED_H_
#define CONVD_SERVER_PREDICT_STILL_WANTED_H_

#include <functional>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace convd {

// Asks whether a caller still wants its answer: OK, then CANCELLED or DEADLINE_EXCEEDED. Asked by
// several workers at once, at cuts; never after the request was answered. A plain value.
class StillWanted {
 public:
  // `ask` is what to call; at `deadline`, by the wall clock, it will say no. The call came at
  // `came`, by the monotonic clock; infinite where that isn't known.
  template <typename Ask, std::enable_if_t<!std::is_same_v<Ask, StillWanted>, int> = 0>
  StillWanted(Ask ask, absl::Time deadline = absl::InfiniteFuture(),
              absl::Duration came = absl::InfiniteDuration())  // NOLINT: meant to be implicit
      : ask_(std::move(ask)), deadline_(deadline), came_(came) {}

  absl::Status operator()() const { return ask_(); }
  absl::Time deadline() const { return deadline_; }
  absl::Duration came() const { return came_; }

 private:
  std::function<absl::Status()> ask_;
  absl::Time deadline_;
  absl::Duration came_;
};

}  // namespace convd

#endif  // CONVD_SERVER_PREDICT_STILL_WANTED_H_
