#ifndef CONVD_SERVER_JOBS_WATCHERS_H_
#define CONVD_SERVER_JOBS_WATCHERS_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace convd {

// Who is to be woken when a job changes. It holds no news, only who waits for some; so a watcher
// that doesn't read costs the same few bytes for ever. Watchers are woken on a thread of this
// object's, where they may read the store: neither a worker nor an RPC callback's thread waits for
// the disk. Any thread may call.
class Watchers {
 public:
  using Wake = std::function<void()>;

  // Starts its thread now, where a lack of threads is nobody's request.
  explicit Watchers(int64_t max_watchers)
      : max_watchers_(max_watchers), thread_([this] { Run(); }) {}
  // Does what was asked for, then joins.
  ~Watchers();

  // RESOURCE_EXHAUSTED where too many watch already. The returned handle ends it when dropped; a
  // call of `wake` that is under way may still end after that. Handles are dropped before this
  // object.
  absl::StatusOr<std::shared_ptr<void>> Add(const std::string& job_id, Wake wake);

  // Return at once.
  void WakeUp(const std::string& job_id);
  void WakeAll();

  // Calls `work` on the thread that wakes.
  void Post(absl::AnyInvocable<void()> work);

 private:
  void Remove(const std::string& job_id, const Wake* wake);
  void Run();
  // Those of all jobs that changed since the last call.
  std::vector<std::shared_ptr<const Wake>> TakeWakes() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const int64_t max_watchers_;

  absl::Mutex mu_;
  int64_t count_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<std::string, std::vector<std::shared_ptr<const Wake>>> by_job_ ABSL_GUARDED_BY(mu_);
  std::set<std::string> changed_ ABSL_GUARDED_BY(mu_);  // jobs whose watchers are to be woken
  bool all_changed_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<absl::AnyInvocable<void()>> posted_ ABSL_GUARDED_BY(mu_);
  bool ending_ ABSL_GUARDED_BY(mu_) = false;

  std::thread thread_;  // last: it uses the rest
};

}  // namespace convd

#endif  // CONVD_SERVER_JOBS_WATCHERS_H_
