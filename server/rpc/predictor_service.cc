#include "server/rpc/predictor_service.h"

#include <utility>

#include "server/rpc/call_context.h"
#include "server/rpc/caller.h"
#include "server/rpc/status.h"

namespace convd {

// Carries a stream over gRPC, and goes when gRPC is done with it.
class PredictorService::StreamReactor final
    : public grpc::ServerBidiReactor<v1::PredictStreamRequest, v1::PredictStreamResponse>,
      public StreamPipe {
 public:
  StreamReactor(PredictorService& service, grpc::CallbackServerContext* context)
      : service_(service),
        stream_(std::make_shared<PredictionStream>(
            service.predictor_, *this,
            StreamHooks{StillWantedBy(*context), [context] { return AdmitMore(context); },
                        service.on_streamed_,
                        [context](int64_t bytes) { CountUnread(context, bytes); }},
            service.stream_limits_)) {
    service_.Opened(stream_);
    stream_->Start();
  }

  void OnReadDone(bool ok) override { stream_->OnRead(ok); }
  void OnWriteDone(bool ok) override { stream_->OnWritten(ok); }
  void OnCancel() override { stream_->OnCancel(); }
  void OnDone() override {
    service_.Closed(stream_);
    delete this;
  }

  void Read(v1::PredictStreamRequest& into) override { StartRead(&into); }
  void Write(const v1::PredictStreamResponse& answer) override { StartWrite(&answer); }
  void Finish(const absl::Status& status) override {
    ServerBidiReactor::Finish(ToGrpcStatus(status));
  }

 private:
  PredictorService& service_;
  const std::shared_ptr<PredictionStream> stream_;
};

grpc::ServerUnaryReactor* PredictorService::Predict(grpc::CallbackServerContext* context,
                                                    const v1::PredictRequest* request,
                                                    v1::PredictResponse* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  NoteModel(context, request->model().name());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  predictor_.Predict(
      *request, *response, StillWantedBy(*context, CameAt(*context)),
      [reactor](const absl::Status& status) { reactor->Finish(ToGrpcStatus(status)); });
  return reactor;
}

grpc::ServerBidiReactor<v1::PredictStreamRequest, v1::PredictStreamResponse>*
PredictorService::PredictStream(grpc::CallbackServerContext* context) {
  if (const Refusal refusal(context); refusal) return refusal;
  return new StreamReactor(*this, context);
}

void PredictorService::Stop() {
  absl::flat_hash_set<std::shared_ptr<PredictionStream>> streams;
  {
    absl::MutexLock lock(&mu_);
    stopped_ = true;
    streams = streams_;
  }
  for (const std::shared_ptr<PredictionStream>& stream : streams) stream->Stop();
}

void PredictorService::Opened(const std::shared_ptr<PredictionStream>& stream) {
  bool stopped = false;
  {
    absl::MutexLock lock(&mu_);
    streams_.insert(stream);
    stopped = stopped_;
  }
  if (stopped) stream->Stop();
}

void PredictorService::Closed(const std::shared_ptr<PredictionStream>& stream) {
  absl::MutexLock lock(&mu_);
  streams_.erase(stream);
}

}  // namespace convd
