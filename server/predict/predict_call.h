#ifndef CONVD_SERVER_PREDICT_PREDICT_CALL_H_
#define CONVD_SERVER_PREDICT_PREDICT_CALL_H_

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/models/loaded_model.h"
#include "server/predict/request_images.h"
#include "server/predict/still_wanted.h"

namespace convd {

class PredictAnswer;

// A request that a PredictQueue accepted, and what became of it so far. Held by its images' parts
// and by the tasks that decode them; any of them may call.
class PredictCall {
 public:
  // `arrived` is the queue's monotonic clock's; at `latest_start` its images stop waiting for
  // others to share their batch.
  PredictCall(std::shared_ptr<const LoadedModel> model, RequestImages images,
              StillWanted still_wanted, std::shared_ptr<PredictAnswer> answer,
              absl::Duration arrived, absl::Duration latest_start);

  const std::shared_ptr<const LoadedModel>& model() const { return model_; }
  const RequestImages& images() const { return images_; }
  absl::Duration arrived() const { return arrived_; }
  absl::Duration latest_start() const { return latest_start_; }
  PredictAnswer& answer() const { return *answer_; }

  // The next files to decode together, at least one and at most `most`; none where there are no
  // more.
  struct Files {
    int64_t first = 0, count = 0;
  };
  Files NextFiles(int64_t most) ABSL_LOCKS_EXCLUDED(mu_);

  bool failed() const { return failed_.load(std::memory_order_relaxed); }
  // Its error too is told, if it has none yet.
  absl::Status StillWantedFor(int64_t first);
  // For the cuts: told of at the end.
  bool Wanted() const { return !failed() && still_wanted_().ok(); }

  // Of several errors the one of the first image is told, whichever came first.
  void Fail(int64_t image, absl::Status status) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status error() ABSL_LOCKS_EXCLUDED(mu_);

  // So many images are answered or dropped; true where these were the last. Acquire and release:
  // whoever ends the call sees what the others wrote.
  bool Account(int64_t images) {
    return left_.fetch_sub(images, std::memory_order_acq_rel) == images;
  }

 private:
  const std::shared_ptr<const LoadedModel> model_;
  const RequestImages images_;
  const absl::Duration arrived_, latest_start_;
  const StillWanted still_wanted_;
  const std::shared_ptr<PredictAnswer> answer_;

  std::atomic<bool> failed_{false};
  std::atomic<int64_t> left_;  // neither answered nor dropped

  absl::Mutex mu_;
  int64_t next_ ABSL_GUARDED_BY(mu_) = 0;  // file to decode
  int64_t error_image_ ABSL_GUARDED_BY(mu_) = std::numeric_limits<int64_t>::max();
  absl::Status error_ ABSL_GUARDED_BY(mu_);
};

}  // namespace convd

#endif  // CONVD_SERVER_PREDICT_PREDICT_CALL_H_
