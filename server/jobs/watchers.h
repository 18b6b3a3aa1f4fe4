#ifndef CONVD_SERVER_JOBS_WATCHERS_H_
#define CONVD_SERVER_JOBS_WATCHERS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace convd {

// Who is to be woken when a job changes. It holds no news, only who waits for some; so a watcher
// that doesn't read costs the same few bytes for ever. Any thread may call.
class Watchers {
 public:
  using Wake = std::function<void()>;

  explicit Watchers(int64_t max_watchers) : max_watchers_(max_watchers) {}

  // RESOURCE_EXHAUSTED where too many watch already. The returned handle ends it when dropped; a
  // call of `wake` that is under way in another thread may still end after that. Handles are
  // dropped before this object.
  absl::StatusOr<std::shared_ptr<void>> Add(const std::string& job_id, Wake wake);

  // Calls them on this thread, with no lock held.
  void WakeUp(const std::string& job_id);
  void WakeAll();

 private:
  void Remove(const std::string& job_id, const Wake* wake);

  const int64_t max_watchers_;

  absl::Mutex mu_;
  int64_t count_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<std::string, std::vector<std::shared_ptr<const Wake>>> by_job_ ABSL_GUARDED_BY(mu_);
};

}  // namespace convd

#endif  // CONVD_SERVER_JOBS_WATCHERS_H_
