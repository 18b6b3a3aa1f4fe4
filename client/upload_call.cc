#include "client/upload_call.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/grpc_call.h"
#include "core/names/text_fields.h"
#include "core/status/status_macros.h"

namespace convd {

absl::StatusOr<v1::Dataset> UploadCall::Run() {
  CONVD_RETURN_IF_ERROR(CheckTextFields(header_));
  for (const LocalFile& file : files_) {
    v1::FileChunk chunk;
    chunk.set_file(file.name);
    CONVD_RETURN_IF_ERROR(CheckTextFields(chunk));
  }
  CONVD_ASSIGN_OR_RETURN(total_, CheckLocalFiles(files_));
  const ClientOptions& options = connection_.options;
  absl::Duration pause = options.first_pause;
  absl::Time lost = absl::InfiniteFuture();  // since when the upload hasn't grown
  for (;;) {
    absl::StatusOr<v1::Dataset> dataset = Try();
    if (dataset.ok()) return dataset;
    if (cancellation_.cancelled()) return absl::CancelledError("stopped uploading");
    // Of a stream before this one something may have arrived after the server was asked.
    const bool has_more = absl::IsOutOfRange(dataset.status());
    if (!can_go_on_ || (!absl::IsUnavailable(dataset.status()) && !has_more)) return dataset;
    if (std::exchange(has_grown_, false)) {
      lost = absl::InfiniteFuture();
      pause = options.first_pause;
    }
    if (lost == absl::InfiniteFuture()) {
      lost = absl::Now();
      if (events_.on_lost && !has_more) events_.on_lost();
    }
    if (absl::Now() - lost >= options.reconnect_timeout) return dataset;
    if (cancellation_.WaitFor(pause)) return absl::CancelledError("stopped uploading");
    pause = std::min(2 * pause, options.longest_pause);
    connection_.await_server(cancellation_, lost + options.reconnect_timeout);
  }
}

absl::StatusOr<v1::Dataset> UploadCall::Try() {
  BytesThere there;
  if (!header_.upload_id().empty()) {
    CONVD_ASSIGN_OR_RETURN(std::optional<v1::Dataset> ended, Find(there));
    if (ended.has_value()) return *std::move(ended);
    int64_t bytes = 0;
    for (const auto& [name, size] : there) bytes += size;
    has_grown_ = bytes > there_;
    there_ = bytes;
    if (bytes > 0) {
      if (events_.on_resumed) events_.on_resumed(bytes, total_);
      if (events_.on_progress) events_.on_progress(bytes, total_);
    }
  }
  return Send(there);
}

absl::StatusOr<std::optional<v1::Dataset>> UploadCall::Find(BytesThere& there) {
  v1::Upload upload;
  const absl::Status status = Look(upload);
  can_go_on_ = !absl::IsUnimplemented(status);
  if (!can_go_on_) return std::nullopt;  // an older server, which wants it in one stream
  if (absl::IsNotFound(status)) {
    if (!all_sent_) return std::nullopt;
    // It ended while the answer was on its way: as a dataset, or by an error that it will meet
    // again.
    v1::GetDatasetRequest request;
    request.set_name(header_.name());
    v1::Dataset dataset;
    if (Call(&v1::Datasets::StubInterface::GetDataset, request, dataset).ok() &&
        dataset.upload_id() == header_.upload_id()) {
      return dataset;
    }
    return std::nullopt;
  }
  CONVD_RETURN_IF_ERROR(status);
  CONVD_ASSIGN_OR_RETURN(std::optional<BytesThere> found, FindBytesThere(upload, files_, [this] {
                           return !cancellation_.cancelled();
                         }));
  if (found.has_value()) {
    there = *std::move(found);
    return std::nullopt;
  }
  v1::DeleteUploadRequest request;
  request.set_upload_id(header_.upload_id());
  v1::DeleteUploadResponse response;
  const absl::Status removed = Call(&v1::Datasets::StubInterface::DeleteUpload, request, response);
  if (!removed.ok() && !absl::IsNotFound(removed)) return removed;
  return std::nullopt;
}

absl::Status UploadCall::Look(v1::Upload& upload) {
  v1::GetUploadRequest request;
  request.set_upload_id(header_.upload_id());
  const absl::Time end = absl::Now() + connection_.timeout;
  absl::Duration pause = connection_.options.first_pause;
  for (;;) {
    upload.Clear();
    CONVD_RETURN_IF_ERROR(Call(&v1::Datasets::StubInterface::GetUpload, request, upload));
    if (!upload.being_read()) return absl::OkStatus();
    all_sent_ = true;
    if (absl::Now() >= end) {
      return absl::DeadlineExceededError(
          absl::StrCat("a dataset is being made of upload \"", header_.upload_id(), "\" still"));
    }
    if (cancellation_.WaitFor(pause)) return absl::CancelledError("stopped uploading");
    pause = std::min(2 * pause, connection_.options.longest_pause);
  }
}

absl::StatusOr<v1::Dataset> UploadCall::Send(const BytesThere& there) {
  grpc::ClientContext context;
  SetTimeout(context, connection_.timeout);
  const Cancellation::Attachment attachment(&cancellation_, &context);
  v1::Dataset dataset;
  const auto writer = connection_.datasets.UploadDataset(&context, &dataset);
  v1::UploadDatasetRequest first;
  *first.mutable_header() = header_;
  absl::StatusOr<bool> sent = false;
  if (writer->Write(first)) {
    sent = SendFiles(
        files_, there,
        [&](const v1::UploadDatasetRequest& request) { return writer->Write(request); },
        [&](int64_t bytes) {
          if (events_.on_progress) events_.on_progress(bytes, total_);
        });
  }
  if (!sent.ok()) {
    context.TryCancel();
    (void)writer->Finish();  // CANCELLED, by us; what went wrong is in `sent`
    return sent.status();
  }
  all_sent_ = *sent;
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  if (!status.ok()) return connection_.explain(status);
  return dataset;
}

template <typename Request, typename Response>
absl::Status UploadCall::Call(grpc::Status (v1::Datasets::StubInterface::*method)(
                                  grpc::ClientContext*, const Request&, Response*),
                              const Request& request, Response& response) {
  grpc::ClientContext context;
  SetTimeout(context, connection_.timeout);
  const Cancellation::Attachment attachment(&cancellation_, &context);
  const grpc::Status status = (connection_.datasets.*method)(&context, request, &response);
  return status.ok() ? absl::OkStatus() : connection_.explain(status);
}

}  // namespace convd
