#ifndef CONVD_CLIENT_CONVCTL_INTERRUPT_H_
#define CONVD_CLIENT_CONVCTL_INTERRUPT_H_

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "absl/status/statusor.h"

namespace convd {

// While it lives, the first Ctrl-C (SIGINT) calls `on_interrupt` on a thread of its own instead of
// ending the process; the second ends it as ever. One at a time in a process.
class InterruptScope {
 public:
  static absl::StatusOr<std::unique_ptr<InterruptScope>> Begin(std::function<void()> on_interrupt);
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

  bool interrupted() const { return interrupted_.load(); }

 private:
  InterruptScope(std::function<void()> on_interrupt, int read_end, int write_end);
  void Run();

  const std::function<void()> on_interrupt_;
  const int read_end_;
  const int write_end_;
  std::atomic<bool> interrupted_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_INTERRUPT_H_
