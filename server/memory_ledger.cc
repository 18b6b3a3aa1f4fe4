#include "server/memory_ledger.h"

#include <algorithm>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace convd {
namespace {

// Estimates end near 2^62: sums of several stay below this.
int64_t Sum(int64_t a, int64_t b) { return a > INT64_MAX - b ? INT64_MAX : a + b; }

// Rounded up, as what is taken is estimated from above.
std::string Megabytes(int64_t bytes) {
  return absl::StrCat(bytes / (1 << 20) + (bytes % (1 << 20) != 0), " MB");
}

}  // namespace

MemoryLedger::Taken MemoryLedger::taken() const {
  absl::MutexLock lock(&mu_);
  Taken taken;
  for (const auto& [number, holder] : holders_) {
    int64_t& bytes = holder.job.empty() ? taken.models : taken.jobs;
    bytes = Sum(bytes, holder.bytes);
  }
  return taken;
}

absl::StatusOr<MemoryLedger::Share> MemoryLedger::TakeForJob(const std::string& id, int64_t bytes) {
  return Take({id, bytes});
}

absl::StatusOr<MemoryLedger::Share> MemoryLedger::TakeForModel(int64_t bytes) {
  return Take({"", bytes});
}

absl::StatusOr<MemoryLedger::Share> MemoryLedger::Take(Holder holder) {
  absl::MutexLock lock(&mu_);
  int64_t jobs = 0, models = 0, loaded = 0;
  std::vector<std::string> taken;
  for (const auto& [number, other] : holders_) {
    if (other.job.empty()) {
      ++loaded;
      models = Sum(models, other.bytes);
    } else {
      jobs = Sum(jobs, other.bytes);
      taken.push_back(absl::StrCat("job ", other.job, " ", Megabytes(other.bytes)));
    }
  }
  if (loaded > 0) {
    taken.push_back(absl::StrCat(loaded, loaded == 1 ? " loaded model " : " loaded models ",
                                 Megabytes(models)));
  }
  const bool job_fits = holder.job.empty() || Sum(jobs, holder.bytes) <= limits_.jobs;
  if (limits_.all > 0 && (!job_fits || Sum(Sum(jobs, models), holder.bytes) > limits_.all)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("takes about ", Megabytes(holder.bytes), " of memory, and ",
                     job_fits ? "jobs and loaded models may take " : "jobs may take ",
                     (job_fits ? limits_.all : limits_.jobs) >> 20, " MB together; ",
                     taken.empty() ? "nothing is taken"
                                   : absl::StrCat("taken by ", absl::StrJoin(taken, ", "))));
  }
  const int64_t number = next_number_++;
  holders_.emplace(number, std::move(holder));
  return Share(this, number);
}

void MemoryLedger::GiveBack(int64_t number) {
  absl::MutexLock lock(&mu_);
  holders_.erase(number);
}

void MemoryLedger::Shrink(int64_t number, int64_t bytes) {
  absl::MutexLock lock(&mu_);
  int64_t& taken = holders_.at(number).bytes;
  taken = std::min(taken, bytes);
}

}  // namespace convd
