#ifndef CONVD_SERVER_RPC_PREDICTOR_SERVICE_H_
#define CONVD_SERVER_RPC_PREDICTOR_SERVICE_H_

#include <functional>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "convd/v1/predictor.grpc.pb.h"
#include "server/predict/prediction_stream.h"
#include "server/predict/predictor.h"
#include "server/rpc/arena_messages.h"

namespace convd {

// convd.v1.Predictor. The predictor outlives the service, and the gRPC server is gone before it.
class PredictorService final : public v1::Predictor::CallbackService {
 public:
  // `on_streamed` is told of each request in a stream that was answered; see StreamHooks.
  explicit PredictorService(
      Predictor& predictor, StreamLimits stream_limits = {},
      std::function<void(absl::StatusCode, absl::string_view model, absl::Duration took)>
          on_streamed = nullptr)
      : predictor_(predictor), stream_limits_(stream_limits), on_streamed_(std::move(on_streamed)) {
    SetMessageAllocatorFor_Predict(&messages_);
  }

  grpc::ServerUnaryReactor* Predict(grpc::CallbackServerContext* context,
                                    const v1::PredictRequest* request,
                                    v1::PredictResponse* response) override;
  grpc::ServerBidiReactor<v1::PredictStreamRequest, v1::PredictStreamResponse>* PredictStream(
      grpc::CallbackServerContext* context) override;

  // Streams, those to come too, are read no further; what was read is answered. Any thread.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  class StreamReactor;

  void Opened(const std::shared_ptr<PredictionStream>& stream) ABSL_LOCKS_EXCLUDED(mu_);
  void Closed(const std::shared_ptr<PredictionStream>& stream) ABSL_LOCKS_EXCLUDED(mu_);

  Predictor& predictor_;
  const StreamLimits stream_limits_;
  const std::function<void(absl::StatusCode, absl::string_view, absl::Duration)> on_streamed_;
  ArenaMessages<v1::PredictRequest, v1::PredictResponse> messages_;

  absl::Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  absl::flat_hash_set<std::shared_ptr<PredictionStream>> streams_ ABSL_GUARDED_BY(mu_);
};

}  // namespace convd

#endif  // CONVD_SERVER_RPC_PREDICTOR_SERVICE_H_
