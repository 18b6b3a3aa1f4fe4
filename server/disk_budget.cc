#include "server/disk_budget.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

constexpr absl::Duration kLookAgainAfter = absl::Seconds(1);

std::string MiB(int64_t bytes) {
  return absl::StrCat(bytes >> 20, ".", (bytes >> 10) % 1024 * 10 / 1024, " MiB");
}

std::string Wanted(int64_t bytes) {
  return bytes == 0 ? std::string() : absl::StrCat(", and ", MiB(bytes), " more are wanted");
}

}  // namespace

absl::Status DiskBudget::Take(int64_t bytes) {
  absl::MutexLock lock(&mu_);
  const bool known = clock_.Monotonic() - looked_ < kLookAgainAfter;
  // Room may have been made since.
  if (!known || !Check(bytes).ok()) CONVD_RETURN_IF_ERROR(Look());
  CONVD_RETURN_IF_ERROR(Check(bytes));
  taken_since_ += bytes;
  return absl::OkStatus();
}

absl::StatusOr<DiskBudget::Room> DiskBudget::room() {
  absl::MutexLock lock(&mu_);
  if (clock_.Monotonic() - looked_ >= kLookAgainAfter) CONVD_RETURN_IF_ERROR(Look());
  return room_;
}

absl::Status DiskBudget::Look() {
  CONVD_ASSIGN_OR_RETURN(room_.free, fs_.FreeBytes(folder_));
  if (max_bytes_ > 0) {
    CONVD_ASSIGN_OR_RETURN(room_.taken, fs_.TreeBytes(folder_));
  }
  taken_since_ = 0;
  looked_ = clock_.Monotonic();
  return absl::OkStatus();
}

absl::Status DiskBudget::Check(int64_t bytes) const {
  // Each is below 2^63 by itself; together they might not be.
  if (max_bytes_ > 0 && bytes > max_bytes_ - room_.taken - taken_since_) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the state folder takes ", MiB(room_.taken + taken_since_), Wanted(bytes),
        "; --max-state-bytes allows ", MiB(max_bytes_), ": delete datasets, or allow more"));
  }
  const int64_t free = std::max<int64_t>(0, room_.free - taken_since_);
  if (bytes > free - kReserve) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the state folder's disk has ", MiB(free), " free", Wanted(bytes), "; ",
                     MiB(kReserve), " are kept for jobs that run: make room there"));
  }
  return absl::OkStatus();
}

}  // namespace convd
