#include "server/predict/alarms.h"

#include <map>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace convd {
namespace {

class ThreadedAlarms final : public Alarms {
 public:
  explicit ThreadedAlarms(const Clock& clock) : clock_(clock), thread_([this] { Run(); }) {}

  ~ThreadedAlarms() override {
    {
      absl::MutexLock lock(&mu_);
      ending_ = true;
      changed_.Signal();
    }
    thread_.join();
  }

  void Set(absl::Duration when, absl::AnyInvocable<void()> call) override {
    absl::MutexLock lock(&mu_);
    calls_.emplace(when, std::move(call));
    changed_.Signal();
  }

 private:
  void Run() ABSL_LOCKS_EXCLUDED(mu_) {
    while (true) {
      absl::AnyInvocable<void()> call;
      {
        absl::MutexLock lock(&mu_);
        while (!ending_) {
          const absl::Duration left = calls_.empty() ? absl::InfiniteDuration()
                                                     : calls_.begin()->first - clock_.Monotonic();
          if (left <= absl::ZeroDuration()) break;
          changed_.WaitWithTimeout(&mu_, left);
        }
        if (ending_) return;
        call = std::move(calls_.begin()->second);
        calls_.erase(calls_.begin());
      }
      call();
    }
  }

  const Clock& clock_;
  absl::Mutex mu_;
  absl::CondVar changed_;
  std::multimap<absl::Duration, absl::AnyInvocable<void()>> calls_ ABSL_GUARDED_BY(mu_);
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;  // last: it uses everything above
};

}  // namespace

std::unique_ptr<Alarms> NewThreadedAlarms(const Clock& clock) {
  return std::make_unique<ThreadedAlarms>(clock);
}

}  // namespace convd
