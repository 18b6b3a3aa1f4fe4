#ifndef CONVD_CLIENT_PREDICT_STREAM_CALL_H_
#define CONVD_CLIENT_PREDICT_STREAM_CALL_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "convd/v1/predictor.grpc.pb.h"

namespace convd {

// One Client::PredictStream. One thread runs it, beside another that reads, so that what it is
// handed is called on that one; its arguments outlive it.
class PredictStreamCall {
 public:
  using Stream =
      grpc::ClientReaderWriterInterface<v1::PredictStreamRequest, v1::PredictStreamResponse>;

  PredictStreamCall(Stream& stream, const ClientOptions& client,
                    const PredictStreamOptions& options, NextRequest next, OnAnswer on_answer)
      : stream_(stream), client_(client), options_(options), next_(next), on_answer_(on_answer) {}

  // OK where all was answered, or where the stream ended before, whose status then says why; else
  // an error of what it was handed, or of the server's answers: the stream is to be cancelled.
  absl::Status Run();
  // To be called on the thread that reads: until the stream ends.
  void Read();
  bool all_answered() const { return no_more_ && window_.empty(); }

 private:
  // A request from its making until its answer is handed on.
  struct Slot {
    v1::PredictStreamRequest request;
    int64_t bytes = 0;
    std::optional<absl::StatusOr<v1::PredictResponse>> answer;
    absl::Time send_again = absl::InfiniteFuture();
    absl::Time refused = absl::InfiniteFuture();  // for the first time
    absl::Duration pause;                         // before the next time
  };

  absl::Status TakeArrived() ABSL_LOCKS_EXCLUDED(mu_);
  void Refused(Slot& slot, absl::Status status, absl::Duration at_least);
  // These two are false where the stream has ended. `due`: when the next one is to be sent again.
  absl::StatusOr<bool> SendNext();
  bool SendAgain(absl::Time now, absl::Time& due);
  void Wait(absl::Time until) ABSL_LOCKS_EXCLUDED(mu_);

  Stream& stream_;
  const ClientOptions& client_;
  const PredictStreamOptions& options_;
  const NextRequest next_;
  const OnAnswer on_answer_;

  std::deque<Slot> window_;
  uint64_t first_ = 0;  // the id of the window's first
  int64_t bytes_ = 0;   // of the requests in it
  bool no_more_ = false;
  absl::Time last_answer_ = absl::InfinitePast();  // that was no error

  absl::Mutex mu_;
  std::deque<v1::PredictStreamResponse> arrived_ ABSL_GUARDED_BY(mu_);
  bool too_many_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace convd

#endif  // CONVD_CLIENT_PREDICT_STREAM_CALL_H_
