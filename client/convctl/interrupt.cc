#include "client/convctl/interrupt.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/status/status.h"

namespace convd {
namespace {

// A signal handler may do next to nothing; writing a byte to a pipe is allowed (signal-safety(7)).
std::atomic<int> signal_pipe = -1;

extern "C" void OnSigint(int) {
  const int saved = errno;
  const char byte = 'i';
  [[maybe_unused]] const ssize_t written = write(signal_pipe.load(), &byte, 1);
  errno = saved;
}

}  // namespace

absl::StatusOr<std::unique_ptr<InterruptScope>> InterruptScope::Begin(
    std::function<void()> on_interrupt) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::InternalError("can't make a pipe");
  return std::unique_ptr<InterruptScope>(
      new InterruptScope(std::move(on_interrupt), ends[0], ends[1]));
}

InterruptScope::InterruptScope(std::function<void()> on_interrupt, int read_end, int write_end)
    : on_interrupt_(std::move(on_interrupt)),
      read_end_(read_end),
      write_end_(write_end),
      thread_([this] { Run(); }) {
  signal_pipe.store(write_end_);
  struct sigaction action = {};
  action.sa_handler = OnSigint;
  action.sa_flags = SA_RESTART | static_cast<int>(SA_RESETHAND);  // the second one is the default's
  sigaction(SIGINT, &action, nullptr);
}

InterruptScope::~InterruptScope() {
  signal(SIGINT, SIG_DFL);
  const char byte = 'q';
  [[maybe_unused]] const ssize_t written = write(write_end_, &byte, 1);
  thread_.join();
  signal_pipe.store(-1);
  close(read_end_);
  close(write_end_);
}

void InterruptScope::Run() {
  char byte = 0;
  for (;;) {
    const ssize_t count = read(read_end_, &byte, 1);
    if (count < 0 && errno == EINTR) continue;
    if (count != 1 || byte == 'q') return;
    interrupted_.store(true);
    on_interrupt_();
  }
}

}  // namespace convd
