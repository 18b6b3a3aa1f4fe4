#ifndef CONVD_SERVER_PREDICT_PREDICTION_STREAM_H_
#define CONVD_SERVER_PREDICT_PREDICTION_STREAM_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "convd/v1/predictor.pb.h"
#include "core/time/clock.h"
#include "server/predict/predictor.h"

namespace convd {

// How much of one stream may be between its reading and the end of its answer's writing. As long as
// there is more, nothing is read. One request more than that may be there, since its size is known
// when it has come.
struct StreamLimits {
  // Enough single images for both sides of a few batches, and 18 requests of 1,000 MNIST images.
  int requests = 64;
  int64_t bytes = int64_t{16} << 20;  // requests as they came, and the most their answers may take
};

// What carries a stream. Each is called by one thread at a time, none while another is; after
// Finish none. What was begun may end, by the calls below, before this returns.
class StreamPipe {
 public:
  virtual ~StreamPipe() = default;
  virtual void Read(v1::PredictStreamRequest& into) = 0;            // then OnRead, once
  virtual void Write(const v1::PredictStreamResponse& answer) = 0;  // then OnWritten, once
  virtual void Finish(const absl::Status& status) = 0;              // a read may be under way still
};

struct StreamHooks {
  StillWanted still_wanted;             // whether the caller waits
  std::function<absl::Status()> admit;  // OK where its caller may make one more request
  // Each request, when its answer is known; may be empty. On any thread, several at once.
  std::function<void(absl::StatusCode, absl::string_view model, absl::Duration took)> on_answered;
  // So many bytes more of answers wait to be written, or, with a lock held, fewer; may be empty.
  // Not after the pipe's Finish.
  std::function<void(int64_t bytes)> on_waiting;
};

// One PredictStream call: reads requests, has them answered side by side, and writes the answers as
// they come. Knows no gRPC. Held by what carries it, and by its requests that are being answered.
// Any thread may call.
class PredictionStream : public std::enable_shared_from_this<PredictionStream> {
 public:
  // All outlive the stream's Finish; the predictor outlives the last of its requests anyway.
  PredictionStream(Predictor& predictor, StreamPipe& pipe, StreamHooks hooks,
                   const StreamLimits& limits = {}, const Clock& clock = Clock::Real());

  void Start() { GoOn(); }
  // The end of a read: ok unless there is no more to read.
  void OnRead(bool ok);
  void OnWritten(bool ok);
  void OnCancel() { GoOn(); }
  // Reads no further, answers what was read, and ends with UNAVAILABLE.
  void Stop();

 private:
  struct Exchange;
  enum class Step { kNothing, kRead, kWrite, kFinish };

  // Does what is to be done, unless another thread is at it, who then looks again.
  void GoOn() ABSL_LOCKS_EXCLUDED(mu_);
  Step Next(absl::Status& end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Begin(const std::shared_ptr<Exchange>& exchange) ABSL_LOCKS_EXCLUDED(mu_);
  void Weigh(Exchange& exchange, int64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Answer(const std::shared_ptr<Exchange>& exchange, const absl::Status& status)
      ABSL_LOCKS_EXCLUDED(mu_);

  Predictor& predictor_;
  StreamPipe& pipe_;
  const StreamHooks hooks_;
  const StreamLimits limits_;
  const Clock& clock_;

  absl::Mutex mu_;
  bool busy_ ABSL_GUARDED_BY(mu_) = false;   // a thread is in GoOn
  bool again_ ABSL_GUARDED_BY(mu_) = false;  // and is to look once more
  std::shared_ptr<Exchange> reading_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<Exchange> writing_ ABSL_GUARDED_BY(mu_);
  std::deque<std::shared_ptr<Exchange>> answers_ ABSL_GUARDED_BY(mu_);  // that wait to be written
  int computing_ ABSL_GUARDED_BY(mu_) = 0;
  int checking_ ABSL_GUARDED_BY(mu_) = 0;  // of those the ones whose answer's size isn't known yet
  int64_t bytes_ ABSL_GUARDED_BY(mu_) = 0;
  bool read_all_ ABSL_GUARDED_BY(mu_) = false;
  bool unreadable_ ABSL_GUARDED_BY(mu_) = false;  // the last of it
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  bool broken_ ABSL_GUARDED_BY(mu_) = false;  // a write failed: nobody is there
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace convd

#endif  // CONVD_SERVER_PREDICT_PREDICTION_STREAM_H_
