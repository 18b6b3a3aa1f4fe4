#include "client/load/arrivals.h"

#include <cmath>

#include "core/random/random.h"

namespace convd {

Arrivals::Arrivals(double per_second, ArrivalKind kind, uint64_t seed)
    : per_second_(per_second), kind_(kind), seed_(seed) {}

absl::Duration Arrivals::Next() {
  const uint64_t index = count_++;
  if (kind_ == ArrivalKind::kConstant) {
    // From the index, so that no rounding adds up.
    return absl::Seconds(static_cast<double>(index) / per_second_);
  }
  const auto words =
      Philox4x32({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), 0, 0},
                 {static_cast<uint32_t>(seed_), static_cast<uint32_t>(seed_ >> 32)});
  // Above 0 and below 1: its logarithm is finite and not zero.
  const double uniform = (static_cast<double>(words[0]) + 0.5) / 4294967296.0;
  seconds_ -= std::log(uniform) / per_second_;
  return absl::Seconds(seconds_);
}

}  // namespace convd
