#ifndef CONVD_SERVER_PREDICT_BLOCKING_CALLS_H_
#define CONVD_SERVER_PREDICT_BLOCKING_CALLS_H_

#include <deque>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"

namespace convd {

// A few threads for work that blocks (a model's first load, a whole evaluation), which may run
// neither on a worker nor on an RPC callback's thread. Threads start when they are first needed.
// Calls throw nothing (core/status/thrown.h): here nobody would know whom to tell. Any thread may
// call.
class BlockingCalls {
 public:
  // At most `threads` calls run at once and `waiting` more wait.
  BlockingCalls(int threads, int waiting);
  // Runs what was accepted to its end, then joins.
  ~BlockingCalls();

  // False, and `call` is dropped, where all threads are busy and as many wait as may.
  [[nodiscard]] bool Start(absl::AnyInvocable<void()> call);
  // For what goes on with something that was accepted: it waits its turn however many wait. False
  // where there is no thread.
  [[nodiscard]] bool StartNext(absl::AnyInvocable<void()> call);

 private:
  bool Queue(absl::AnyInvocable<void()> call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Run();

  const int max_threads_;
  const int max_waiting_;

  absl::Mutex mu_;
  std::deque<absl::AnyInvocable<void()>> queue_ ABSL_GUARDED_BY(mu_);
  int busy_ ABSL_GUARDED_BY(mu_) = 0;
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mu_);
};

}  // namespace convd

#endif  // CONVD_SERVER_PREDICT_BLOCKING_CALLS_H_
