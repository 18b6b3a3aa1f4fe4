#ifndef CONVD_CLIENT_CANCELLATION_H_
#define CONVD_CLIENT_CANCELLATION_H_

#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace grpc {
class ClientContext;
}

namespace convd {

// Ends calls from outside: a call given one returns CANCELLED soon after Cancel(), also while it
// waits between two attempts. One way; outlives the calls that use it. Any thread may call.
class Cancellation {
 public:
  void Cancel() ABSL_LOCKS_EXCLUDED(mu_);
  bool cancelled() const ABSL_LOCKS_EXCLUDED(mu_);
  // Waits; true as soon as it is cancelled, false when the time is over.
  bool WaitFor(absl::Duration duration) const ABSL_LOCKS_EXCLUDED(mu_);

  // While it lives, Cancel() cancels `context` too. `cancellation` may be null.
  class Attachment {
   public:
    Attachment(Cancellation* cancellation, grpc::ClientContext* context);
    ~Attachment();
    Attachment(const Attachment&) = delete;
    Attachment& operator=(const Attachment&) = delete;

   private:
    Cancellation* const cancellation_;
    grpc::ClientContext* const context_;
  };

 private:
  mutable absl::Mutex mu_;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<grpc::ClientContext*> contexts_ ABSL_GUARDED_BY(mu_);
};

}  // namespace convd

#endif  // CONVD_CLIENT_CANCELLATION_H_
