#ifndef CONVD_SERVER_AUTH_CALL_LIMIT_H_
#define CONVD_SERVER_AUTH_CALL_LIMIT_H_

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/auth/tokens_file.h"

namespace convd {

// One principal's calls: a bucket that holds a second's worth of them (at least one) and fills at
// the rate, and how many run. Any thread may call.
class CallLimit {
 public:
  explicit CallLimit(const CallLimits& limits);

  // From now on. What runs goes on, and counts.
  void Set(const CallLimits& limits);
  CallLimits limits() const;

  enum class Answer { kTaken, kTooFast, kTooMany };
  struct Taken {
    Answer answer = Answer::kTaken;
    absl::Duration retry_after;  // kTooFast: when there will be a place
  };
  // Takes a place for one call that begins at `now`, a monotonic time. Release it where kTaken.
  Taken Take(absl::Duration now);
  void Release();
  // Takes one from the rate for what a call that has its place asks for besides; kTooMany is never
  // the answer.
  Taken TakeMore(absl::Duration now);

 private:
  Taken TakeFromBucket(absl::Duration now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  double Most() const ABSL_SHARED_LOCKS_REQUIRED(mu_);

  mutable absl::Mutex mu_;
  CallLimits limits_ ABSL_GUARDED_BY(mu_);
  double calls_ ABSL_GUARDED_BY(mu_);  // in the bucket
  absl::Duration filled_ ABSL_GUARDED_BY(mu_) = -absl::InfiniteDuration();
  int running_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace convd

#endif  // CONVD_SERVER_AUTH_CALL_LIMIT_H_
