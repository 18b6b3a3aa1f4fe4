#ifndef CONVD_SERVER_PREDICT_PREDICT_H_
#define CONVD_SERVER_PREDICT_PREDICT_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "convd/v1/predictor.pb.h"
#include "core/data/limits.h"
#include "core/exec/executor.h"
#include "server/models/repository.h"

namespace convd {

struct PredictLimits {
  int64_t max_images = 65'536;              // of one request
  int64_t max_waiting_images = 262'144;     // accepted and not yet answered, of all requests
  int64_t max_waiting_bytes = 1LL << 30;    // of those requests' own pixels or files
  int64_t max_response_bytes = 64LL << 20;  // of one answer
  DataLimits files;                         // of each PNG or JPEG file
};

// OK while the caller still wants the answer, then CANCELLED or DEADLINE_EXCEEDED. Asked by several
// workers at once, at cuts; never after the request was answered.
using StillWanted = std::function<absl::Status()>;

// Runs prediction requests in the executor's predict lane. A request is split into pieces that fill
// a worker well; it has at most as many of them in the lane as there are workers, and each goes to
// the lane's end, so that a large request doesn't hold up a small one. Any thread may call.
class PredictQueue {
 public:
  explicit PredictQueue(Executor& executor, const PredictLimits& limits = {});
  // Waits until every accepted request is answered, so the executor must still be running.
  ~PredictQueue();

  // Checks the request, then answers into `response` and calls `done` exactly once, with OK or the
  // request's first error; on a worker's thread, or on the caller's before this returns.
  // INVALID_ARGUMENT names the field; RESOURCE_EXHAUSTED where too much waits already; what
  // `still_wanted` says, where that is an error, as soon as the pieces at work have come to a cut.
  // `request` and `response` live until `done` is called; nothing here touches them afterwards.
  void Predict(std::shared_ptr<const LoadedModel> model, const v1::PredictRequest& request,
               v1::PredictResponse& response, StillWanted still_wanted,
               std::function<void(absl::Status)> done);

 private:
  class Call;

  absl::Status Admit(int64_t images, int64_t bytes);
  void Release(int64_t images, int64_t bytes);
  void Leave();
  void Submit(std::shared_ptr<Call> call);

  Executor& executor_;
  const PredictLimits limits_;

  absl::Mutex mu_;
  int64_t calls_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t images_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace convd

#endif  // CONVD_SERVER_PREDICT_PREDICT_H_
