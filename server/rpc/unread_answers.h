#ifndef CONVD_SERVER_RPC_UNREAD_ANSWERS_H_
#define CONVD_SERVER_RPC_UNREAD_ANSWERS_H_

#include <cstdint>
#include <functional>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"

namespace convd {

// Bounds the bytes of answers that wait for their clients to read them, of all calls together.
// Where they are too many, the call whose client has read nothing for longest is ended to make
// room. Any thread may call.
class UnreadAnswers {
 public:
  // A call whose answers wait.
  class Call {
   public:
    virtual ~Call() = default;
    // What ends the call. It is run soon, with no lock held, maybe after this object is gone; this
    // itself is called with one held, and only between an Add and its Forget.
    virtual std::function<void()> Ender() = 0;
  };

  explicit UnreadAnswers(int64_t most_bytes) : most_bytes_(most_bytes) {}

  // So many bytes more wait. May end other calls, never this one: an answer alone always has room.
  void Add(Call& call, int64_t bytes) ABSL_LOCKS_EXCLUDED(mu_);
  // So many fewer do: the client reads.
  void Remove(Call& call, int64_t bytes) ABSL_LOCKS_EXCLUDED(mu_);
  // Nothing waits any more, before the call goes.
  void Forget(Call& call) ABSL_LOCKS_EXCLUDED(mu_);

  int64_t bytes() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Unread {
    int64_t bytes = 0;
    int64_t since = 0;  // which change it was that something began to wait, or was read
    bool ended = false;
  };

  const int64_t most_bytes_;
  mutable absl::Mutex mu_;
  absl::flat_hash_map<Call*, Unread> calls_ ABSL_GUARDED_BY(mu_);
  int64_t bytes_ ABSL_GUARDED_BY(mu_) = 0;  // of those that aren't ended
  int64_t changes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace convd

#endif  // CONVD_SERVER_RPC_UNREAD_ANSWERS_H_
