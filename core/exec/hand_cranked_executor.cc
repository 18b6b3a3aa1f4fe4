#include <array>
#include <atomic>
#include <deque>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/exec/executor.h"

namespace convd {
namespace {

class HandCranked;

// The task that runs on this thread right now, if any.
struct Running {
  const HandCranked* executor = nullptr;
  int lane = 0;
};
thread_local Running running;

class HandCranked final : public HandCrankedExecutor {
 public:
  explicit HandCranked(int workers) : workers_(workers) {}

  // As the threaded one: never drops a task.
  ~HandCranked() override {
    while (RunOne()) {
    }
  }

  int workers() const override { return workers_; }

  void Submit(Lane lane, absl::AnyInvocable<void()> task) override {
    absl::MutexLock lock(&mu_);
    queues_[static_cast<int>(lane)].push_back(std::move(task));
  }

  bool TryRunHere(Lane lane, absl::FunctionRef<void()> task) override {
    if (!idle_) return false;
    const Running outer = std::exchange(running, Running{this, static_cast<int>(lane)});
    task();
    running = outer;
    return true;
  }

  void SetIdle(bool idle) override { idle_ = idle; }

  void ForEachInStages(Lane lane, absl::FunctionRef<int64_t()> next_stage,
                       absl::FunctionRef<void(int64_t)> body) override {
    const Running outer = std::exchange(running, Running{this, static_cast<int>(lane)});
    for (int64_t count = next_stage(); count > 0; count = next_stage()) {
      for (int64_t i = 0; i < count; ++i) {
        body(i);
        Cut();
      }
    }
    running = outer;
  }

  void Cut() override {
    if (running.executor != this) return;
    while (RunFirst(running.lane)) {
    }
  }

  bool RunOne() override { return RunFirst(kLanes); }

  int64_t pending(Lane lane) const override {
    absl::MutexLock lock(&mu_);
    return static_cast<int64_t>(queues_[static_cast<int>(lane)].size());
  }

 private:
  // Runs the first task of the first `lanes` lanes; false where they have none.
  bool RunFirst(int lanes) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::AnyInvocable<void()> task;
    int lane = 0;
    {
      absl::MutexLock lock(&mu_);
      while (lane < lanes && queues_[lane].empty()) ++lane;
      if (lane == lanes) return false;
      task = std::move(queues_[lane].front());
      queues_[lane].pop_front();
    }
    const Running outer = std::exchange(running, Running{this, lane});
    task();
    task = nullptr;
    running = outer;
    return true;
  }

  const int workers_;
  std::atomic<bool> idle_ = false;
  mutable absl::Mutex mu_;
  std::array<std::deque<absl::AnyInvocable<void()>>, kLanes> queues_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

std::unique_ptr<HandCrankedExecutor> NewHandCrankedExecutor(int workers) {
  return std::make_unique<HandCranked>(workers);
}

}  // namespace convd
