#ifndef CONVD_SERVER_PREDICT_PREDICT_QUEUE_H_
#define CONVD_SERVER_PREDICT_PREDICT_QUEUE_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "core/data/limits.h"
#include "core/exec/executor.h"
#include "core/time/clock.h"
#include "server/models/loaded_model.h"
#include "server/predict/alarms.h"
#include "server/predict/request_images.h"
#include "server/predict/still_wanted.h"

namespace convd {

struct PredictLimits {
  int64_t max_images = 65'536;            // of one request
  int64_t max_waiting_images = 262'144;   // accepted and not yet answered, of all requests
  int64_t max_waiting_bytes = 1LL << 30;  // of those requests' own pixels or files
  // What would wait longer than this for its first image to be begun is refused, by what comes
  // first and how long such images took lately. Zero: no such limit.
  absl::Duration max_wait = absl::Seconds(5);
  int64_t max_response_bytes = 64LL << 20;  // of one answer
  int64_t max_batch = 0;                    // images; 0: as many as suit the model
  // How long an image may wait for others to share its batch, from its arrival. Less where its
  // caller's deadline is nearer.
  absl::Duration max_delay = absl::ZeroDuration();
  DataLimits files = {};  // of each PNG or JPEG file
};

class PredictCall;

// Takes a request's results, in whatever form its protocol has.
class PredictAnswer {
 public:
  virtual ~PredictAnswer() = default;

  // The images from `first` on: n x classes probabilities, all finite. Several workers may call at
  // once, each with other images.
  virtual void Write(int64_t first, absl::Span<const float> probabilities) = 0;
  // Exactly once, after the last Write: OK where all images were written, else the error of an
  // image, the first of those that were found.
  virtual void Done(absl::Status status) = 0;
};

// What the queue saw, for whoever counts it. Called by workers and callers, several at once.
class PredictObserver {
 public:
  virtual ~PredictObserver() = default;
  virtual void Received(absl::Duration took) = 0;  // a request, from its call's arrival to here
  virtual void Decoded(int64_t images, absl::Duration took) = 0;
  virtual void Waited(absl::Duration took) = 0;  // a request's images, from here to a batch
  virtual void Computed(const LoadedModel& model, int64_t images, absl::Duration took) = 0;
  virtual void Encoded(absl::Duration took) = 0;  // a batch's results into their answers
};

// Runs predictions in the executor's predict lane, in batches of images that wait for the same
// version at the same precision. There is no window unless max_delay says so: a worker that is
// free, or at a cut, takes what waits, so a lone image goes at once and a burst batches itself.
// Requests take turns, a batch each, so that a large one doesn't hold up a small one. A lone image
// of a quick model is computed on its caller's thread while a worker has nothing to do. Any thread
// may call.
class PredictQueue {
 public:
  // `observer` may be null; `alarms` too where max_delay is zero. All outlive the queue.
  explicit PredictQueue(Executor& executor, const PredictLimits& limits = {},
                        const Clock& clock = Clock::Real(), PredictObserver* observer = nullptr,
                        Alarms* alarms = nullptr);
  // Waits until every accepted request is answered, so the executor must still be running.
  ~PredictQueue();

  const PredictLimits& limits() const { return limits_; }

  // What a request that was let in holds of the limits while it waits for something else, its
  // model. Given back when it goes, or to Predict; goes before the queue. Movable.
  class Place {
   public:
    Place() noexcept {}
    Place(Place&& other) noexcept { *this = std::move(other); }
    Place& operator=(Place&& other) noexcept {
      std::swap(queue_, other.queue_);
      std::swap(images_, other.images_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Place() { GiveBack(); }

    void GiveBack();

   private:
    friend class PredictQueue;
    PredictQueue* queue_ = nullptr;
    int64_t images_ = 0, bytes_ = 0;
  };
  // RESOURCE_EXHAUSTED where too much waits already, here or in other places.
  absl::StatusOr<Place> Admit(int64_t images, int64_t bytes) ABSL_LOCKS_EXCLUDED(mu_);

  // Answers `images`, which fit the model; on workers' threads, or on the caller's before this
  // returns. RESOURCE_EXHAUSTED where too much waits already; what `still_wanted` says, where that
  // is an error, before computing begins or at the next cut of a batch that nobody else wants.
  // What the pixels lie in lives until `answer` is done. What has a `place` isn't refused.
  void Predict(std::shared_ptr<const LoadedModel> model, RequestImages images,
               StillWanted still_wanted, std::shared_ptr<PredictAnswer> answer, Place place = {});

 private:
  struct Part;
  struct Line;
  struct Slice;

  absl::Status TakeRoom(int64_t images, int64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status Enter(const LoadedModel& model, const RequestImages& images, Place& place)
      ABSL_LOCKS_EXCLUDED(mu_);
  // How long a request of this version would wait for its first image to be begun.
  absl::Duration ExpectedWait(const LoadedModel& model, bool files) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Duration LatestStart(absl::Duration arrived, absl::Time deadline) const;
  void SubmitDecoding(std::shared_ptr<PredictCall> call);
  void DecodeNext(std::shared_ptr<PredictCall> call);
  void Enqueue(Part part) ABSL_LOCKS_EXCLUDED(mu_);
  bool windowed() const { return limits_.max_delay > absl::ZeroDuration() && alarms_ != nullptr; }
  // How many of the images that wait a batch takes where `sharers` batches share them.
  int64_t BatchImages(const Line& line, int sharers) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  int64_t FullBatch(const Line& line) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SetAlarm(Line& line, const std::shared_ptr<Line>& shared, absl::Duration due)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // How many batches are to be submitted now, so that whatever waits and is due has one coming.
  int NewBatches(Line& line, const std::shared_ptr<Line>& shared)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SubmitBatches(const std::shared_ptr<Line>& line, int count);
  void RunBatch(const std::shared_ptr<Line>& line) ABSL_LOCKS_EXCLUDED(mu_);
  std::vector<Slice> TakeBatch(Line& line) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void RemoveIfIdle(Line& line) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // How long an image took; zero where none was computed.
  absl::Duration Compute(const LoadedModel& model, std::vector<Slice>& slices);
  void Deliver(const Slice& slice, absl::Span<const float> probabilities, int64_t classes,
               const absl::Status& computed);
  void Finish(PredictCall& call, int64_t images) ABSL_LOCKS_EXCLUDED(mu_);

  Executor& executor_;
  const PredictLimits limits_;
  const Clock& clock_;
  PredictObserver* const observer_;
  Alarms* const alarms_;

  absl::Mutex mu_;
  absl::flat_hash_map<const LoadedModel*, std::shared_ptr<Line>> lines_ ABSL_GUARDED_BY(mu_);
  int64_t calls_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t decoders_ ABSL_GUARDED_BY(mu_) = 0;     // tasks that may still look at the queue
  absl::Duration decoding_ ABSL_GUARDED_BY(mu_);  // how long such a task took lately
  int64_t images_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace convd

#endif  // CONVD_SERVER_PREDICT_PREDICT_QUEUE_H_
