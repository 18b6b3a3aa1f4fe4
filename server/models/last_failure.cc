#include "server/models/last_failure.h"

#include <algorithm>
#include <utility>

namespace convd {

void LastFailure::Set(absl::Status status, std::optional<VersionStamp> files, absl::Duration now) {
  const bool damage = absl::IsDataLoss(status);
  // A copy that goes on has another reason each time; the figures of other failures say nothing.
  const bool same = damage ? status == status_ : status.code() == status_.code();
  // Whoever asks by himself doesn't put off the next attempt.
  if (!same || !TooEarly(now)) {
    const absl::Duration first = damage ? absl::Seconds(2) : absl::Seconds(10);
    const absl::Duration last = damage ? absl::Seconds(10) : absl::Minutes(10);
    wait_ = same ? std::min(2 * wait_, last) : first;
    again_ = now + wait_;
  }
  status_ = std::move(status);
  files_ = std::move(files);
}

bool LastFailure::IsOf(const std::optional<VersionStamp>& files) const {
  return absl::IsDataLoss(status_) && files.has_value() && files_ == files;
}

}  // namespace convd
