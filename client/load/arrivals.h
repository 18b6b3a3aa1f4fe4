#ifndef CONVD_CLIENT_LOAD_ARRIVALS_H_
#define CONVD_CLIENT_LOAD_ARRIVALS_H_

#include <cstdint>

#include "absl/time/time.h"

namespace convd {

enum class ArrivalKind {
  kConstant,  // one every 1/rate seconds
  kPoisson,   // independent of one another, as those of many callers: gaps are exponential
};

// When the calls of an open loop begin, whatever becomes of those before. The same for the same
// rate, kind and seed. A plain value; one thread.
class Arrivals {
 public:
  // REQUIRES: per_second > 0.
  Arrivals(double per_second, ArrivalKind kind, uint64_t seed);

  // The next one's time since the start, never before the last one's. A constant rate's first is at
  // the start itself.
  absl::Duration Next();

 private:
  const double per_second_;
  const ArrivalKind kind_;
  const uint64_t seed_;
  uint64_t count_ = 0;
  double seconds_ = 0;
};

}  // namespace convd

#endif  // CONVD_CLIENT_LOAD_ARRIVALS_H_
