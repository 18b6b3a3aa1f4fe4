#ifndef CONVD_SERVER_MEMORY_LEDGER_H_
#define CONVD_SERVER_MEMORY_LEDGER_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace convd {

// Who may use how much of the memory: jobs while they run, and models while they are loaded, by
// estimates that are made before anything is allocated. Any thread may call.
class MemoryLedger {
 public:
  // In bytes. Jobs may take `jobs` together; they and the models `all`. What is between the two
  // only models get. `all` of 0: no limit.
  struct Limits {
    int64_t jobs = 0;
    int64_t all = 0;
  };

  // What somebody may use, given back when it is destroyed. The ledger outlives it.
  class Share {
   public:
    Share() = default;
    Share(Share&& other) noexcept { *this = std::move(other); }
    Share& operator=(Share&& other) noexcept {
      std::swap(ledger_, other.ledger_);
      std::swap(number_, other.number_);
      return *this;
    }
    ~Share() {
      if (ledger_ != nullptr) ledger_->GiveBack(number_);
    }

    // Gives back what is beyond `bytes`; nothing where it is that or less.
    void ShrinkTo(int64_t bytes) {
      if (ledger_ != nullptr) ledger_->Shrink(number_, bytes);
    }

   private:
    friend class MemoryLedger;
    Share(MemoryLedger* ledger, int64_t number) : ledger_(ledger), number_(number) {}

    MemoryLedger* ledger_ = nullptr;
    int64_t number_ = 0;
  };

  explicit MemoryLedger(Limits limits) : limits_(limits) {}

  // RESOURCE_EXHAUSTED with the figures, and with who has what, where it doesn't fit beside them.
  absl::StatusOr<Share> TakeForJob(const std::string& id, int64_t bytes);
  absl::StatusOr<Share> TakeForModel(int64_t bytes);

  const Limits& limits() const { return limits_; }

  struct Taken {
    int64_t jobs = 0;
    int64_t models = 0;
  };
  Taken taken() const;

 private:
  struct Holder {
    std::string job;  // "" is a model
    int64_t bytes = 0;
  };

  absl::StatusOr<Share> Take(Holder holder);
  void GiveBack(int64_t number);
  void Shrink(int64_t number, int64_t bytes);

  const Limits limits_;

  mutable absl::Mutex mu_;
  std::map<int64_t, Holder> holders_ ABSL_GUARDED_BY(mu_);  // in the order in which they came
  int64_t next_number_ ABSL_GUARDED_BY(mu_) = 1;
};

}  // namespace convd

#endif  // CONVD_SERVER_MEMORY_LEDGER_H_
