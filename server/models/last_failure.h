#ifndef CONVD_SERVER_MODELS_LAST_FAILURE_H_
#define CONVD_SERVER_MODELS_LAST_FAILURE_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/models/version_folder.h"

namespace convd {

// Why a version could not be read or loaded at the last attempt, and when another one is worth it.
// Times are a clock's Monotonic(). A plain value.
class LastFailure {
 public:
  // OK where there was none.
  const absl::Status& status() const { return status_; }

  // Of an attempt that has ended at `now` and that found the files so. Each time that nothing has
  // changed it is longer until the next one: where the files are damaged 2 s, since they may be a
  // copy that isn't finished, up to 10 s; with any other failure 10 s up to 10 minutes.
  void Set(absl::Status status, std::optional<VersionStamp> files, absl::Duration now);
  void Clear() { *this = LastFailure(); }

  // False where there was no failure.
  bool TooEarly(absl::Duration now) const { return !status_.ok() && now < again_; }
  // Whether the files were damaged and are as they were: reading them again would find the same.
  bool IsOf(const std::optional<VersionStamp>& files) const;

 private:
  absl::Status status_;
  std::optional<VersionStamp> files_;
  absl::Duration wait_;
  absl::Duration again_ = -absl::InfiniteDuration();
};

}  // namespace convd

#endif  // CONVD_SERVER_MODELS_LAST_FAILURE_H_
