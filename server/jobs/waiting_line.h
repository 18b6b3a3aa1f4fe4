#ifndef CONVD_SERVER_JOBS_WAITING_LINE_H_
#define CONVD_SERVER_JOBS_WAITING_LINE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace convd {

// The ids of the jobs that wait, in the order in which they begin: those that have run before
// first, then by priority and age. Each step of priority is worth kAgeing of waiting, so a job goes
// before those of lower priority that came up to so much earlier, and nothing starves. Since all
// age alike the order of two never changes by itself. One thread at a time.
class WaitingLine {
 public:
  static constexpr absl::Duration kAgeing = absl::Minutes(10);

  struct Place {
    bool started = false;
    int32_t priority = 0;
    absl::Time created;
    std::string id;
  };

  // REQUIRES: its id isn't in it.
  void Add(Place place);
  // OK where it isn't there. `place` as it was added.
  void Remove(const Place& place);
  // 1 is next; 0 where it isn't there.
  int64_t Position(const Place& place) const;

  bool empty() const { return places_.empty(); }
  int64_t size() const { return static_cast<int64_t>(places_.size()); }
  const std::string& first() const { return places_.front().id; }

 private:
  std::vector<Place> places_;  // sorted
};

}  // namespace convd

#endif  // CONVD_SERVER_JOBS_WAITING_LINE_H_
