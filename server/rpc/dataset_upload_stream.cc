#include "server/rpc/dataset_upload_stream.h"

#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/status/status_macros.h"
#include "core/status/thrown.h"
#include "server/rpc/call_context.h"
#include "server/rpc/caller.h"
#include "server/rpc/status.h"

namespace convd {
namespace {

// Calls of gRPC and of the threads follow each other, never at once: a read is started when the
// last message is done with, and a message is handled when its read is done. Only OnCancel, which
// touches nothing, and TakenAway come at any time. The stream is its own until OnDone; whoever may
// take its upload away holds it weakly.
class UploadStream final : public grpc::ServerReadReactor<v1::UploadDatasetRequest>,
                           public std::enable_shared_from_this<UploadStream> {
 public:
  UploadStream(grpc::CallbackServerContext* context, v1::Dataset* response,
               DatasetRegistry& datasets, BlockingCalls& chunks, BlockingCalls& ingests)
      : context_(context),
        response_(response),
        datasets_(datasets),
        chunks_(chunks),
        ingests_(ingests) {}

  void Start() {
    self_ = shared_from_this();
    Read();
  }

  void OnReadDone(bool ok) override {
    if (!StopReading()) return;
    const auto next = [this] {
      Next(OrWhatItThrows("upload", [this] { return HandleRequest(); }));
    };
    const auto end = [this] { End(OrWhatItThrows("upload", [this] { return Commit(); })); };
    // What has begun waits its turn: refused now, all that was sent would be lost. What is left of
    // a broken stream need not wait for other datasets.
    const bool begun = upload_ != nullptr;
    const bool started = ok ? (begun ? chunks_.StartNext(next) : chunks_.Start(next))
                         : begun && !context_->IsCancelled() ? ingests_.StartNext(end)
                                                             : chunks_.StartNext(end);
    if (!started) {
      End(absl::ResourceExhaustedError("too many uploads at once; try again in a moment"));
    }
  }

  // A read that waits ends with it, and the next step sees it.
  void OnCancel() override {}

  // Its last pointer may be that one.
  void OnDone() override { const std::shared_ptr<UploadStream> gone = std::move(self_); }

 private:
  absl::Status HandleRequest() {
    switch (request_.part_case()) {
      case v1::UploadDatasetRequest::kHeader: {
        if (upload_ != nullptr) {
          return absl::InvalidArgumentError("header: comes a second time; want it first, and once");
        }
        NoteTarget(context_, absl::StrCat("dataset ", request_.header().name()));
        CONVD_ASSIGN_OR_RETURN(upload_, datasets_.BeginUpload(request_.header()));
        upload_->OnTakenAway([stream = weak_from_this()](const absl::Status& why) {
          if (const auto there = stream.lock()) there->TakenAway(why);
        });
        return absl::OkStatus();
      }
      case v1::UploadDatasetRequest::kChunk:
        if (upload_ == nullptr) {
          return absl::InvalidArgumentError("header: is missing; want it before the first chunk");
        }
        return upload_->Write(request_.chunk().file(), request_.chunk().offset(),
                              request_.chunk().data());
      case v1::UploadDatasetRequest::PART_NOT_SET:
        break;
    }
    return absl::InvalidArgumentError("part: got none; want header or chunk");
  }

  // The stream has ended: by the caller's word, or because the caller is gone.
  absl::Status Commit() {
    CONVD_RETURN_IF_ERROR(CallerStillWaits(*context_));
    if (upload_ == nullptr) {
      return absl::InvalidArgumentError("header: is missing; the stream ended before it");
    }
    CONVD_ASSIGN_OR_RETURN(*response_, upload_->Commit());
    return absl::OkStatus();
  }

  void Next(const absl::Status& status) {
    if (!status.ok()) return End(status);
    Read();
  }

  // Nothing may follow: gRPC may end this at once.
  void Read() {
    absl::Status taken_away;
    {
      absl::MutexLock lock(&mu_);
      taken_away = taken_away_;
      reading_ = taken_away.ok();
      // Under the lock, since a read must not be begun after Finish.
      if (reading_) StartRead(&request_);
    }
    if (!taken_away.ok()) End(taken_away);
  }
  // False where the stream was ended while it was reading.
  bool StopReading() {
    absl::MutexLock lock(&mu_);
    return std::exchange(reading_, false);
  }
  // A stream that reads has nobody at it, and may never hear of its caller again: it is ended from
  // here. Any other sees it when it is done with its message.
  void TakenAway(const absl::Status& why) {
    {
      absl::MutexLock lock(&mu_);
      taken_away_ = why;
      if (!std::exchange(reading_, false)) return;
    }
    End(why);
  }

  // Nothing may follow: gRPC may end this at once.
  void End(const absl::Status& status) {
    upload_ = nullptr;
    Finish(ToGrpcStatus(status));
  }

  grpc::CallbackServerContext* const context_;
  v1::Dataset* const response_;
  DatasetRegistry& datasets_;
  BlockingCalls& chunks_;
  BlockingCalls& ingests_;
  v1::UploadDatasetRequest request_;
  std::unique_ptr<DatasetUpload> upload_;
  std::shared_ptr<UploadStream> self_;

  absl::Mutex mu_;
  bool reading_ ABSL_GUARDED_BY(mu_) = false;  // and nobody has ended it
  absl::Status taken_away_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

grpc::ServerReadReactor<v1::UploadDatasetRequest>* NewDatasetUploadStream(
    grpc::CallbackServerContext* context, v1::Dataset* response, DatasetRegistry& datasets,
    BlockingCalls& chunks, BlockingCalls& ingests) {
  const auto stream = std::make_shared<UploadStream>(context, response, datasets, chunks, ingests);
  stream->Start();
  return stream.get();
}

}  // namespace convd
