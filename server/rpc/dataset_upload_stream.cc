#include "server/rpc/dataset_upload_stream.h"

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/status/status_macros.h"
#include "server/rpc/caller.h"
#include "server/rpc/status.h"

namespace convd {
namespace {

// Calls of gRPC and of the threads follow each other, never at once: a read is started when the
// last message is done with, and a message is handled when its read is done. Only OnCancel comes at
// any time, and it touches nothing.
class UploadStream final : public grpc::ServerReadReactor<v1::UploadDatasetRequest> {
 public:
  UploadStream(grpc::CallbackServerContext* context, v1::Dataset* response,
               DatasetRegistry& datasets, BlockingCalls& chunks, BlockingCalls& ingests)
      : context_(context),
        response_(response),
        datasets_(datasets),
        chunks_(chunks),
        ingests_(ingests) {
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    const bool started = ok ? chunks_.Start([this] { Next(HandleRequest()); })
                            : ingests_.Start([this] { End(Commit()); });
    if (!started) {
      End(absl::ResourceExhaustedError("too many uploads at once; try again in a moment"));
    }
  }

  // A read that waits ends with it, and the next step sees it.
  void OnCancel() override {}

  void OnDone() override { delete this; }

 private:
  absl::Status HandleRequest() {
    switch (request_.part_case()) {
      case v1::UploadDatasetRequest::kHeader: {
        if (upload_ != nullptr) {
          return absl::InvalidArgumentError("header: comes a second time; want it first, and once");
        }
        CONVD_ASSIGN_OR_RETURN(upload_, datasets_.BeginUpload(request_.header()));
        return absl::OkStatus();
      }
      case v1::UploadDatasetRequest::kChunk:
        if (upload_ == nullptr) {
          return absl::InvalidArgumentError("header: is missing; want it before the first chunk");
        }
        return upload_->Write(request_.chunk().file(), request_.chunk().data());
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
    StartRead(&request_);
  }

  // Nothing may follow: gRPC may delete this at once.
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
};

}  // namespace

grpc::ServerReadReactor<v1::UploadDatasetRequest>* NewDatasetUploadStream(
    grpc::CallbackServerContext* context, v1::Dataset* response, DatasetRegistry& datasets,
    BlockingCalls& chunks, BlockingCalls& ingests) {
  return new UploadStream(context, response, datasets, chunks, ingests);
}

}  // namespace convd
