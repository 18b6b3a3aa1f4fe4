#ifndef CONVD_SERVER_SERVING_STATE_H_
#define CONVD_SERVER_SERVING_STATE_H_

#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace convd {

// Which services take what they are there for, and why not, for who asks without gRPC. The server
// as a whole is "". Any thread may call.
class ServingState {
 public:
  void Set(const std::string& service, absl::Status status) {
    absl::MutexLock lock(&mu_);
    services_[service] = std::move(status);
  }
  // From now on nothing is served.
  void Stop() {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }

  // Of all services that were set.
  std::map<std::string, absl::Status> All() const {
    absl::MutexLock lock(&mu_);
    std::map<std::string, absl::Status> all = services_;
    if (!stopping_) return all;
    for (auto& [name, status] : all) status = absl::UnavailableError("the server is stopping");
    return all;
  }

 private:
  mutable absl::Mutex mu_;
  std::map<std::string, absl::Status> services_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace convd

#endif  // CONVD_SERVER_SERVING_STATE_H_
