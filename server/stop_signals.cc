#include "server/stop_signals.h"

#include <pthread.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>

#include "absl/time/clock.h"

namespace convd {
namespace {

sigset_t StopSet() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

// The next signal's number, or 0 once `deadline` has passed.
int NextSignal(absl::Time deadline) {
  const sigset_t signals = StopSet();
  for (;;) {
    int signal;
    if (deadline == absl::InfiniteFuture()) {
      signal = sigwaitinfo(&signals, nullptr);
    } else {
      const absl::Duration left = deadline - absl::Now();
      if (left <= absl::ZeroDuration()) return 0;
      const timespec wait = absl::ToTimespec(left);
      signal = sigtimedwait(&signals, nullptr, &wait);
    }
    if (signal > 0) return signal;
    if (errno == EAGAIN) return 0;
  }
}

void Run(absl::Duration drain, absl::Notification& first) {
  const int signal = NextSignal(absl::InfiniteFuture());
  const absl::Time deadline = absl::Now() + drain;
  spdlog::info("{}: stopping, within {} s", strsignal(signal), absl::ToDoubleSeconds(drain));
  first.Notify();
  const int second = NextSignal(deadline);
  if (second > 0) {
    spdlog::warn("{} again: stopping at once", strsignal(second));
    _exit(128 + second);
  }
  spdlog::warn("not all work could end within {} s; stopping now", absl::ToDoubleSeconds(drain));
  _exit(0);
}

}  // namespace

void BlockStopSignals() {
  const sigset_t signals = StopSet();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

const absl::Notification& WatchStopSignals(absl::Duration drain) {
  // Neither is ever destroyed: they guard the process's end to its last moment.
  auto* const first = new absl::Notification;
  std::thread([drain, first] { Run(drain, *first); }).detach();
  return *first;
}

}  // namespace convd
