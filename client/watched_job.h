#ifndef CONVD_CLIENT_WATCHED_JOB_H_
#define CONVD_CLIENT_WATCHED_JOB_H_

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "convd/v1/jobs.pb.h"

namespace convd {

// True where a job in this state changes no more.
bool HasEnded(v1::JobState state);

// What one watcher has seen of a job, so that a stream which is begun again neither repeats nor
// leaves out an epoch's record. One thread.
class WatchedJob {
 public:
  explicit WatchedJob(int64_t after_epoch) : last_epoch_(after_epoch) {}

  // Passes on what is new in an event of the stream. Records that the ended job holds and the
  // stream never brought are passed on before it.
  void Take(const v1::JobEvent& event, absl::FunctionRef<void(const v1::JobEvent&)> on_event);

  // The last epoch passed on: where a new stream should go on from.
  int64_t last_epoch() const { return last_epoch_; }
  bool ended() const { return HasEnded(job_.state()); }
  const v1::Job& job() const { return job_; }
  bool begun() const { return begun_; }

 private:
  bool HasNewEpochs(const v1::Job& job) const;
  void TakeEpoch(const v1::EpochRecord& record,
                 absl::FunctionRef<void(const v1::JobEvent&)> on_event);

  int64_t last_epoch_;
  bool begun_ = false;
  v1::Job job_;
};

}  // namespace convd

#endif  // CONVD_CLIENT_WATCHED_JOB_H_
