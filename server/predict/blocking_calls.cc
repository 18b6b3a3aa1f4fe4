#include "server/predict/blocking_calls.h"

#include <system_error>
#include <utility>

namespace convd {

BlockingCalls::BlockingCalls(int threads, int waiting)
    : max_threads_(threads), max_waiting_(waiting) {}

BlockingCalls::~BlockingCalls() {
  std::vector<std::thread> threads;
  {
    absl::MutexLock lock(&mu_);
    ending_ = true;
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
}

bool BlockingCalls::Start(absl::AnyInvocable<void()> call) {
  absl::MutexLock lock(&mu_);
  if (busy_ + static_cast<int>(queue_.size()) >= max_threads_ + max_waiting_) return false;
  return Queue(std::move(call));
}

bool BlockingCalls::StartNext(absl::AnyInvocable<void()> call) {
  absl::MutexLock lock(&mu_);
  return Queue(std::move(call));
}

bool BlockingCalls::Queue(absl::AnyInvocable<void()> call) {
  if (ending_) return false;
  queue_.push_back(std::move(call));
  const int taken = busy_ + static_cast<int>(queue_.size());
  const int threads = static_cast<int>(threads_.size());
  if (taken > threads && threads < max_threads_) {
    try {
      threads_.emplace_back([this] { Run(); });
    } catch (const std::system_error&) {
      // The machine gives no more threads: those that are there will do, if there are any.
      if (threads_.empty()) {
        queue_.pop_back();
        return false;
      }
    }
  }
  return true;
}

void BlockingCalls::Run() {
  const auto work_or_end = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return !queue_.empty() || ending_;
  };
  while (true) {
    absl::AnyInvocable<void()> call;
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(&work_or_end));
      if (queue_.empty()) return;
      call = std::move(queue_.front());
      queue_.pop_front();
      ++busy_;
    }
    call();
    call = nullptr;  // what it holds goes before the place is free again
    absl::MutexLock lock(&mu_);
    --busy_;
  }
}

}  // namespace convd
