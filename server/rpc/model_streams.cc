#include "server/rpc/model_streams.h"

#include <spdlog/spdlog.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/status/status_macros.h"
#include "core/status/thrown.h"
#include "server/models/model_import.h"
#include "server/models/onnx_export.h"
#include "server/rpc/call_context.h"
#include "server/rpc/caller.h"
#include "server/rpc/status.h"

namespace convd {
namespace {

// Of the bytes that a message has, well below what gRPC's clients take by default.
constexpr size_t kPiece = size_t{1} << 20;

// How long a caller may take to read one piece of a megabyte.
constexpr absl::Duration kSlowestWrite = absl::Seconds(60);

absl::Status TooMany() {
  return absl::ResourceExhaustedError(
      "too many models are being exported or imported; try again in a moment");
}

using Sink = absl::FunctionRef<absl::Status(std::string_view)>;

// A thread reads the version and waits for each piece to be written before it makes the next.
class ExportStream final : public grpc::ServerWriteReactor<v1::ExportModelResponse> {
 public:
  // `write` hands what there is to send to the sink, until that fails.
  ExportStream(grpc::CallbackServerContext* context, BlockingCalls& calls,
               std::function<absl::Status(Sink)> write)
      : context_(context) {
    const bool started = calls.Start([this, write = std::move(write)] {
      absl::Status status = CallerStillWaits(*context_);
      if (status.ok()) {
        status = OrWhatItThrows(
            "model", [&] { return write([this](std::string_view data) { return Send(data); }); });
      }
      // Nothing may follow: gRPC may delete this at once.
      Finish(ToGrpcStatus(status));
    });
    if (!started) Finish(ToGrpcStatus(TooMany()));
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mu_);
    writing_ = false;
    failed_ = !ok;
  }
  // A write that waits ends with it.
  void OnCancel() override {}
  void OnDone() override { delete this; }

 private:
  absl::Status Send(std::string_view data) {
    response_.mutable_data()->assign(data.data(), data.size());
    {
      absl::MutexLock lock(&mu_);
      writing_ = true;
    }
    StartWrite(&response_);
    absl::MutexLock lock(&mu_);
    const absl::Condition written(+[](bool* writing) { return !*writing; }, &writing_);
    if (!mu_.AwaitWithTimeout(written, kSlowestWrite)) {
      // Others wait for this thread.
      context_->TryCancel();
      mu_.Await(written);
    }
    return failed_ ? absl::CancelledError("the caller is gone") : absl::OkStatus();
  }

  grpc::CallbackServerContext* const context_;
  v1::ExportModelResponse response_;
  absl::Mutex mu_;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool failed_ ABSL_GUARDED_BY(mu_) = false;
};

// Calls of gRPC and of the threads follow each other, never at once, as in an upload of a dataset.
class ImportStream final : public grpc::ServerReadReactor<v1::ImportModelRequest> {
 public:
  ImportStream(grpc::CallbackServerContext* context, v1::Model* response, ModelRepository& models,
               FileSystem& fs, std::function<absl::Status(int64_t)> take_room,
               BlockingCalls& pieces, BlockingCalls& commits)
      : context_(context),
        response_(response),
        models_(models),
        import_(
            std::make_unique<ModelImport>(fs, models, models.NewTemporary(), std::move(take_room))),
        pieces_(pieces),
        commits_(commits) {
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    const auto next = [this] { Next(OrWhatItThrows("model", [this] { return HandleRequest(); })); };
    const auto end = [this] { End(OrWhatItThrows("model", [this] { return Commit(); })); };
    // What is left of a broken stream need not wait for others' commits.
    const bool broken = !ok && context_->IsCancelled();
    const bool started = broken   ? pieces_.StartNext(end)
                         : !ok    ? commits_.StartNext(end)
                         : begun_ ? pieces_.StartNext(next)
                                  : pieces_.Start(next);
    if (!started) End(TooMany());
  }
  void OnCancel() override {}
  void OnDone() override { delete this; }

 private:
  void Next(const absl::Status& status) {
    if (!status.ok()) return End(status);
    StartRead(&request_);
  }

  // What came is gone before the caller hears of it. Nothing may follow: gRPC may delete this at
  // once.
  void End(const absl::Status& status) {
    import_ = nullptr;
    Finish(ToGrpcStatus(status));
  }

  absl::Status HandleRequest() {
    switch (request_.part_case()) {
      case v1::ImportModelRequest::kHeader:
        if (begun_) {
          return absl::InvalidArgumentError("header: comes a second time; want it first, and once");
        }
        CONVD_RETURN_IF_ERROR(CheckImportHeader(request_.header()));
        header_ = request_.header();
        NoteTarget(context_, absl::StrCat("model ", header_.name(), " of ", header_.source()));
        begun_ = true;
        return absl::OkStatus();
      case v1::ImportModelRequest::kData:
        if (!begun_) {
          return absl::InvalidArgumentError("header: is missing; want it before the data");
        }
        return import_->Write(request_.data());
      case v1::ImportModelRequest::PART_NOT_SET:
        break;
    }
    return absl::InvalidArgumentError("part: got none; want header or data");
  }

  absl::Status Commit() {
    // The stream has ended: by the caller's word, or because the caller is gone.
    CONVD_RETURN_IF_ERROR(CallerStillWaits(*context_));
    if (!begun_) {
      return absl::InvalidArgumentError("header: is missing; the stream ended before it");
    }
    CONVD_ASSIGN_OR_RETURN(const v1::ModelVersion version, import_->Commit(header_));
    NoteTarget(context_, absl::StrCat("model ", version.name(), " version ", version.version(),
                                      " of ", header_.source()));
    spdlog::info("model {} version {}: imported", version.name(), version.version());
    CONVD_ASSIGN_OR_RETURN(*response_, models_.Get(version));
    return absl::OkStatus();
  }

  grpc::CallbackServerContext* const context_;
  v1::Model* const response_;
  ModelRepository& models_;
  std::unique_ptr<ModelImport> import_;
  BlockingCalls& pieces_;
  BlockingCalls& commits_;
  v1::ImportModelRequest request_;
  v1::ImportHeader header_;
  bool begun_ = false;
};

}  // namespace

grpc::ServerWriteReactor<v1::ExportModelResponse>* NewModelExportStream(
    grpc::CallbackServerContext* context, const v1::ExportModelRequest* request,
    ModelRepository& models, BlockingCalls& calls) {
  return new ExportStream(context, calls, [request, &models](Sink sink) {
    return models.Export(request->model(), sink);
  });
}

grpc::ServerWriteReactor<v1::ExportModelResponse>* NewOnnxExportStream(
    grpc::CallbackServerContext* context, const v1::ExportOnnxRequest* request,
    ModelRepository& models, BlockingCalls& calls) {
  return new ExportStream(context, calls, [request, &models](Sink sink) -> absl::Status {
    CONVD_ASSIGN_OR_RETURN(const std::string onnx, ExportOnnx(*request, models));
    std::string_view rest = onnx;
    while (!rest.empty()) {
      const std::string_view piece = rest.substr(0, kPiece);
      CONVD_RETURN_IF_ERROR(sink(piece));
      rest.remove_prefix(piece.size());
    }
    return absl::OkStatus();
  });
}

grpc::ServerReadReactor<v1::ImportModelRequest>* NewModelImportStream(
    grpc::CallbackServerContext* context, v1::Model* response, ModelRepository& models,
    FileSystem& fs, std::function<absl::Status(int64_t)> take_room, BlockingCalls& pieces,
    BlockingCalls& commits) {
  return new ImportStream(context, response, models, fs, std::move(take_room), pieces, commits);
}

}  // namespace convd
