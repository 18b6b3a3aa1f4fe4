#include "core/exec/executor.h"

#include <omp.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace convd {
namespace {

class ThreadedExecutor;

// What this thread is doing for the executor whose worker it is; no executor on other threads.
struct Running {
  const ThreadedExecutor* executor = nullptr;
  int lane = 0;
};
thread_local Running running;

// One mutex guards three queues. Memory order: a task sees what was written before its Submit, and
// the caller of ForEach sees what the bodies wrote, both by way of that mutex. `waiting_` is only a
// hint that saves Cut() from taking it; it is relaxed, which still shows a Cut() every Submit that
// happened before it (coherence), and others within the time a store takes to reach another core.
class ThreadedExecutor final : public Executor {
 public:
  ThreadedExecutor(int workers, int nice) : workers_(workers) {
    threads_.reserve(workers);
    for (int i = 0; i < workers; ++i) {
      threads_.emplace_back([this, i, nice] { Work(i, nice); });
    }
  }

  ~ThreadedExecutor() override {
    {
      absl::MutexLock lock(&mu_);
      stopping_ = true;
      work_.SignalAll();
    }
    for (std::thread& thread : threads_) thread.join();
  }

  int workers() const override { return workers_; }

  void Submit(Lane lane, absl::AnyInvocable<void()> task) override {
    absl::MutexLock lock(&mu_);
    Push(static_cast<int>(lane), Entry{std::move(task), nullptr});
    work_.Signal();
  }

  void ForEach(Lane lane, int64_t count, absl::FunctionRef<void(int64_t)> body) override {
    assert(running.executor != this);
    if (count <= 0) return;
    Loop loop(body, count);
    absl::MutexLock lock(&mu_);
    Push(static_cast<int>(lane), Entry{nullptr, &loop});
    for (int64_t i = std::min<int64_t>(count, workers()); i > 0; --i) work_.Signal();
    while (loop.unfinished > 0) loop.finished.Wait(&mu_);
  }

  void Cut() override {
    if (running.executor != this) return;
    while ((waiting_.load(std::memory_order_relaxed) & LanesAbove(running.lane)) != 0) {
      std::optional<Claim> claim;
      {
        absl::MutexLock lock(&mu_);
        claim = Take(running.lane);
      }
      if (!claim.has_value()) return;  // another worker was faster
      Run(*std::move(claim));
    }
  }

 private:
  // A ForEach that has not returned. It lies on its caller's stack; mu_ guards all but `body`.
  struct Loop {
    Loop(absl::FunctionRef<void(int64_t)> b, int64_t n) : body(b), count(n), unfinished(n) {}
    const absl::FunctionRef<void(int64_t)> body;
    const int64_t count;
    int64_t next = 0;
    int64_t unfinished;
    absl::CondVar finished;
  };
  // One of the two. A loop stays queued until its last index is claimed.
  struct Entry {
    absl::AnyInvocable<void()> task;
    Loop* loop = nullptr;
  };
  // First in, first out. Memory that it once took it keeps, so that a steady state allocates
  // nothing.
  class Queue {
   public:
    bool empty() const { return size_ == 0; }
    void PushBack(Entry entry) {
      if (size_ == ring_.size()) Grow();
      ring_[(first_ + size_++) % ring_.size()] = std::move(entry);
    }
    // REQUIRES: not empty.
    Entry PopFront() {
      Entry entry = std::move(ring_[first_]);
      first_ = (first_ + 1) % ring_.size();
      --size_;
      return entry;
    }

   private:
    void Grow() {
      std::vector<Entry> larger(std::max<size_t>(8, 2 * ring_.size()));
      for (size_t i = 0; i < size_; ++i) larger[i] = std::move(ring_[(first_ + i) % ring_.size()]);
      ring_ = std::move(larger);
      first_ = 0;
    }

    std::vector<Entry> ring_;
    size_t first_ = 0, size_ = 0;
  };
  struct Claim {
    int lane;
    absl::AnyInvocable<void()> task;
    Loop* loop;
    int64_t index;
  };

  static constexpr uint32_t LanesAbove(int lane) { return (uint32_t{1} << lane) - 1; }

  void Push(int lane, Entry entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    queues_[lane].PushBack(std::move(entry));
    MarkWaiting(lane);
  }

  void MarkWaiting(int lane) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const uint32_t bit = uint32_t{1} << lane;
    const uint32_t old = waiting_.load(std::memory_order_relaxed);
    waiting_.store(queues_[lane].empty() ? old & ~bit : old | bit, std::memory_order_relaxed);
  }

  // Claims a task, or one index of a loop, from the first of the first `lanes` lanes that has one.
  std::optional<Claim> Take(int lanes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    for (int lane = 0; lane < lanes; ++lane) {
      Queue& queue = queues_[lane];
      if (queue.empty()) continue;
      Entry entry = queue.PopFront();
      Claim claim{lane, std::move(entry.task), entry.loop, 0};
      if (entry.loop != nullptr) {
        claim.index = entry.loop->next++;
        // To the back, so that loops and tasks of one lane take turns.
        if (entry.loop->next < entry.loop->count) queue.PushBack(std::move(entry));
      }
      MarkWaiting(lane);
      return claim;
    }
    return std::nullopt;
  }

  void Run(Claim claim) ABSL_LOCKS_EXCLUDED(mu_) {
    const Running outer = std::exchange(running, Running{this, claim.lane});
    if (claim.loop == nullptr) {
      claim.task();
      claim.task = nullptr;  // what it holds is released in its own lane too
    } else {
      claim.loop->body(claim.index);
      absl::MutexLock lock(&mu_);
      if (--claim.loop->unfinished == 0) claim.loop->finished.Signal();
    }
    running = outer;
  }

  void Work(int index, int nice) ABSL_LOCKS_EXCLUDED(mu_) {
    running = Running{this, kLanes};
    omp_set_num_threads(1);
    pthread_setname_np(pthread_self(),
                       ("convd-work-" + std::to_string(index)).substr(0, 15).c_str());
    // Linux takes a thread's id here and changes that thread alone. Without the right to (a
    // negative value) the worker runs as it is: slower answers under load, no wrong ones.
    if (nice != 0) setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), nice);
    while (true) {
      std::optional<Claim> claim;
      {
        absl::MutexLock lock(&mu_);
        while (!(claim = Take(kLanes)).has_value()) {
          // A task that still runs elsewhere may submit more; its own worker will run that.
          if (stopping_) return;
          work_.Wait(&mu_);
        }
      }
      Run(*std::move(claim));
    }
  }

  const int workers_;
  absl::Mutex mu_;
  absl::CondVar work_;  // an entry was queued, or stopping_
  std::array<Queue, kLanes> queues_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::atomic<uint32_t> waiting_ = 0;  // bit i: lane i has an entry; written under mu_
  std::vector<std::thread> threads_;   // last: they use everything above
};

}  // namespace

std::unique_ptr<Executor> NewThreadedExecutor(int workers, int nice) {
  return std::make_unique<ThreadedExecutor>(workers, nice);
}

}  // namespace convd
