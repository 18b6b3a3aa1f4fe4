#include "core/exec/executor.h"

#include <omp.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/exec/train_share.h"

namespace convd {
namespace {

class ThreadedExecutor;

// What this thread is doing for the executor whose worker it is; no executor on other threads.
struct Running {
  const ThreadedExecutor* executor = nullptr;
  int lane = 0;
};
thread_local Running running;

using SteadyClock = std::chrono::steady_clock;

// Of the worker that this thread is.
struct Worker {
  LaneShares shares;
  SteadyClock::time_point since;  // when the running task began, or went on after a cut
};
thread_local Worker* worker = nullptr;

// One mutex guards three queues. Memory order: a task sees what was written before its Submit, and
// the caller of a loop and its stages see what the bodies wrote, both by way of that mutex.
// `waiting_` is only a hint that saves Cut() from taking it; it is relaxed, which still shows a
// Cut() every Submit that happened before it (coherence), and others within the time a store takes
// to reach another core.
class ThreadedExecutor final : public Executor {
 public:
  ThreadedExecutor(int workers, int nice, double train_share)
      : workers_(workers), train_share_(train_share) {
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
    Push(static_cast<int>(lane), Entry{std::move(task), nullptr, {}});
    work_.Signal();
  }

  bool TryRunHere(Lane lane, absl::FunctionRef<void()> task) override {
    assert(lane == Lane::kPredict);
    {
      absl::MutexLock lock(&mu_);
      if (idle_ - lent_ <= 0 || stopping_ || waiting_.load(std::memory_order_relaxed) != 0) {
        return false;
      }
      ++lent_;
    }
    thread_local bool alone = false;
    if (!std::exchange(alone, true)) omp_set_num_threads(1);
    const Running outer = std::exchange(running, Running{this, static_cast<int>(lane)});
    task();
    running = outer;
    absl::MutexLock lock(&mu_);
    --lent_;
    return true;
  }

  void ForEach(Lane lane, int64_t count, absl::FunctionRef<void(int64_t)> body) override {
    RunLoop(lane, false, [&] { return std::exchange(count, 0); }, body);
  }

  void ForEachInStages(Lane lane, absl::FunctionRef<int64_t()> next_stage,
                       absl::FunctionRef<void(int64_t)> body) override {
    RunLoop(lane, true, next_stage, body);
  }

  void Cut() override {
    if (running.executor != this) return;
    const int lane = running.lane;
    if (worker != nullptr && worker->shares.owes(lane)) {
      const SteadyClock::time_point now = SteadyClock::now();
      worker->shares.Ran(lane, absl::FromChrono(now - worker->since));
      worker->since = now;
    }
    while (true) {
      const uint32_t waiting = waiting_.load(std::memory_order_relaxed) & LanesAbove(lane);
      if (waiting == 0) return;
      std::optional<Claim> claim;
      {
        absl::MutexLock lock(&mu_);
        claim = TakeNext(lane);
      }
      if (!claim.has_value()) return;  // another worker was faster, or this lane is due
      RunCounted(*std::move(claim), uint32_t{1} << lane);
    }
  }

  ExecutorUse Use() const override {
    ExecutorUse use;
    absl::MutexLock lock(&mu_);
    use.tasks = tasks_;
    for (int lane = 0; lane < kLanes; ++lane) {
      use.busy[lane] = busy_[lane].load(std::memory_order_relaxed);
      use.wait_seconds[lane] = std::chrono::duration<double>(waited_[lane]).count();
    }
    return use;
  }

 private:
  // A loop whose caller waits. It lies on the caller's stack; mu_ guards all but the functions.
  struct Loop {
    Loop(bool s, absl::FunctionRef<int64_t()> n, absl::FunctionRef<void(int64_t)> b)
        : staged(s), next_stage(n), body(b) {}
    const bool staged;
    const absl::FunctionRef<int64_t()> next_stage;
    const absl::FunctionRef<void(int64_t)> body;
    // Of the stage.
    int64_t count = 0;
    int64_t next = 0;
    int64_t unfinished = 0;

    bool ended = false;
    absl::CondVar end;
  };
  // A task or a loop. A loop stays queued until its stage's last index is claimed.
  struct Entry {
    absl::AnyInvocable<void()> task;
    Loop* loop = nullptr;
    std::chrono::steady_clock::time_point queued{};
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
    entry.queued = std::chrono::steady_clock::now();
    queues_[lane].PushBack(std::move(entry));
    MarkWaiting(lane);
  }

  void MarkWaiting(int lane) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const uint32_t bit = uint32_t{1} << lane;
    const uint32_t old = waiting_.load(std::memory_order_relaxed);
    waiting_.store(queues_[lane].empty() ? old & ~bit : old | bit, std::memory_order_relaxed);
  }

  // Claims from the lane above lane `below` whose turn it is, unless `below` itself is due before
  // it.
  std::optional<Claim> TakeNext(int below) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const uint32_t waiting = waiting_.load(std::memory_order_relaxed);
    if (worker == nullptr) {
      for (int lane = 0; lane < below; ++lane)
        if ((waiting >> lane & 1) != 0) return TakeFrom(lane);
      return std::nullopt;
    }
    const int lane = worker->shares.Next(waiting, below);
    if (lane < 0 || (below < kLanes && worker->shares.due(below, lane))) return std::nullopt;
    // Whoever sleeps may be there for what is passed over.
    if ((waiting & LanesAbove(lane)) != 0) work_.Signal();
    return TakeFrom(lane);
  }

  // Claims a task, or one index of a loop. REQUIRES: the lane has one.
  Claim TakeFrom(int lane) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    Queue& queue = queues_[lane];
    Entry entry = queue.PopFront();
    Claim claim{lane, std::move(entry.task), entry.loop, 0};
    if (entry.loop != nullptr) claim.index = entry.loop->next++;
    if (claim.index == 0) {
      ++tasks_[lane];
      waited_[lane] += std::chrono::steady_clock::now() - entry.queued;
    }
    if (entry.loop != nullptr) {
      // To the back, so that loops and tasks of one lane take turns.
      if (entry.loop->next < entry.loop->count) queue.PushBack(std::move(entry));
    }
    MarkWaiting(lane);
    return claim;
  }

  void RunLoop(Lane lane, bool staged, absl::FunctionRef<int64_t()> next_stage,
               absl::FunctionRef<void(int64_t)> body) ABSL_LOCKS_EXCLUDED(mu_) {
    assert(running.executor != this);
    const int64_t count = next_stage();
    if (count <= 0) return;
    Loop loop(staged, next_stage, body);
    absl::MutexLock lock(&mu_);
    staged_ += staged;
    Begin(static_cast<int>(lane), loop, count);
    while (!loop.ended) loop.end.Wait(&mu_);
  }

  // Queues a stage of `count` indices.
  void Begin(int lane, Loop& loop, int64_t count) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    loop.count = count;
    loop.next = 0;
    loop.unfinished = count;
    Push(lane, Entry{nullptr, &loop, {}});
    for (int64_t i = std::min<int64_t>(count, workers()); i > 0; --i) work_.Signal();
  }

  void Run(Claim claim) ABSL_LOCKS_EXCLUDED(mu_) {
    const Running outer = std::exchange(running, Running{this, claim.lane});
    // At a cut the worker leaves its own task's lane meanwhile.
    if (outer.lane < kLanes) busy_[outer.lane].fetch_sub(1, std::memory_order_relaxed);
    busy_[claim.lane].fetch_add(1, std::memory_order_relaxed);
    if (claim.loop == nullptr) {
      claim.task();
      claim.task = nullptr;  // what it holds is released in its own lane too
    } else {
      claim.loop->body(claim.index);
      if (IsLast(*claim.loop)) {
        const int64_t count = claim.loop->next_stage();
        absl::MutexLock lock(&mu_);
        if (count > 0) {
          Begin(claim.lane, *claim.loop, count);
        } else {
          staged_ -= claim.loop->staged;
          claim.loop->ended = true;
          claim.loop->end.Signal();
        }
      }
    }
    busy_[claim.lane].fetch_sub(1, std::memory_order_relaxed);
    if (outer.lane < kLanes) busy_[outer.lane].fetch_add(1, std::memory_order_relaxed);
    running = outer;
  }

  // Counts one body of the stage as returned.
  bool IsLast(Loop& loop) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return --loop.unfinished == 0;
  }

  void Work(int index, int nice) ABSL_LOCKS_EXCLUDED(mu_) {
    running = Running{this, kLanes};
    omp_set_num_threads(1);
    pthread_setname_np(pthread_self(),
                       ("convd-work-" + std::to_string(index)).substr(0, 15).c_str());
    // Linux takes a thread's id here and changes that thread alone. Without the right to (a
    // negative value) the worker runs as it is: slower answers under load, no wrong ones.
    if (nice != 0) setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), nice);
    Worker own{LaneShares(train_share_), {}};
    worker = &own;
    while (std::optional<Claim> claim = WaitForWork()) RunCounted(*std::move(claim), 0);
  }

  // Runs it and counts what it took of the lanes below it that wait, and of those of `interrupted`
  // (a bit a lane).
  void RunCounted(Claim claim, uint32_t interrupted) ABSL_LOCKS_EXCLUDED(mu_) {
    const int lane = claim.lane;
    const SteadyClock::time_point begun = SteadyClock::now();
    worker->since = begun;
    Run(std::move(claim));
    const SteadyClock::time_point end = SteadyClock::now();
    worker->shares.Ran(lane, absl::FromChrono(end - worker->since));
    worker->shares.Took(lane, absl::FromChrono(end - begun),
                        waiting_.load(std::memory_order_relaxed) | interrupted);
    worker->since = end;
  }

  // Nothing when the executor stops.
  std::optional<Claim> WaitForWork() ABSL_LOCKS_EXCLUDED(mu_) {
    bool awaited = false;
    while (true) {
      {
        absl::MutexLock lock(&mu_);
        std::optional<Claim> claim = TakeNext(kLanes);
        if (claim.has_value()) return claim;
        // A task that still runs elsewhere may submit more; its own worker will run that.
        if (stopping_) return std::nullopt;
        if (awaited || staged_ == 0) {
          ++idle_;
          work_.Wait(&mu_);
          --idle_;
          awaited = false;
          continue;
        }
      }
      awaited = !Await();
    }
  }

  // Returns true when something is queued, false after kAwaiting. Where a loop is on its way its
  // next stage is near, and a thread that sleeps takes long to wake: on a virtual machine a tenth
  // of a training step of 1.3 ms.
  bool Await() const {
    const auto until = std::chrono::steady_clock::now() + kAwaiting;
    do {
      for (int i = 0; i < 16; ++i) {
        if (waiting_.load(std::memory_order_relaxed) != 0) return true;
        __builtin_ia32_pause();
      }
    } while (std::chrono::steady_clock::now() < until);
    return false;
  }

  static constexpr std::chrono::microseconds kAwaiting{100};

  const int workers_;
  const double train_share_;
  mutable absl::Mutex mu_;
  absl::CondVar work_;  // an entry was queued, or stopping_
  std::array<Queue, kLanes> queues_ ABSL_GUARDED_BY(mu_);
  int64_t staged_ ABSL_GUARDED_BY(mu_) = 0;  // loops in stages that have begun and not ended
  int idle_ ABSL_GUARDED_BY(mu_) = 0;  // workers that sleep, or were woken and haven't the lock yet
  // Callers of TryRunHere. What is submitted meanwhile wakes a worker as ever: for the moment that
  // such a task takes there is one thread more.
  int lent_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::array<int64_t, kLanes> tasks_ ABSL_GUARDED_BY(mu_){};
  std::array<std::chrono::steady_clock::duration, kLanes> waited_ ABSL_GUARDED_BY(mu_){};
  std::array<std::atomic<int64_t>, kLanes> busy_{};
  std::atomic<uint32_t> waiting_ = 0;  // bit i: lane i has an entry; written under mu_
  std::vector<std::thread> threads_;   // last: they use everything above
};

}  // namespace

void Executor::ForEach(Lane lane, int64_t count, absl::FunctionRef<void(int64_t)> body) {
  ForEachInStages(lane, [&] { return std::exchange(count, 0); }, body);
}

std::unique_ptr<Executor> NewThreadedExecutor(int workers, int nice, double train_share) {
  return std::make_unique<ThreadedExecutor>(workers, nice, train_share);
}

}  // namespace convd
