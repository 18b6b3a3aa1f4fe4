#include "server/jobs/waiting_line.h"

#include <algorithm>
#include <functional>
#include <tuple>
#include <utility>

namespace convd {
namespace {

// When a job without priority would have come, to begin at the same time.
absl::Time Rank(const WaitingLine::Place& place) {
  return place.created - place.priority * WaitingLine::kAgeing;
}

bool Before(const WaitingLine::Place& a, const WaitingLine::Place& b) {
  return std::make_tuple(!a.started, Rank(a), std::cref(a.id)) <
         std::make_tuple(!b.started, Rank(b), std::cref(b.id));
}

}  // namespace

void WaitingLine::Add(Place place) {
  const auto at = std::upper_bound(places_.begin(), places_.end(), place, Before);
  places_.insert(at, std::move(place));
}

void WaitingLine::Remove(const Place& place) {
  if (const int64_t position = Position(place); position > 0) {
    places_.erase(places_.begin() + (position - 1));
  }
}

int64_t WaitingLine::Position(const Place& place) const {
  const auto at = std::lower_bound(places_.begin(), places_.end(), place, Before);
  return at != places_.end() && at->id == place.id ? at - places_.begin() + 1 : 0;
}

}  // namespace convd
