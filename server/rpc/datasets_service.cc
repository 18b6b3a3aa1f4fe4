#include "server/rpc/datasets_service.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"
#include "core/status/thrown.h"
#include "server/datasets/dataset_list.h"
#include "server/rpc/call_context.h"
#include "server/rpc/caller.h"
#include "server/rpc/dataset_upload_stream.h"
#include "server/rpc/status.h"

namespace convd {
namespace {

constexpr int kIngestsAtOnce = 1;
constexpr int kIngestsWaiting = 64;
constexpr int kChunksAtOnce = 2;
constexpr int kChunksWaiting = 256;
constexpr int kLooksAtOnce = 1;
constexpr int kLooksWaiting = 64;
constexpr int kHashesAtOnce = 1;
constexpr int kHashesWaiting = 64;
constexpr int64_t kMaxSamples = 64;
// What a client receives that has gRPC's usual limit of 4 MiB.
constexpr int64_t kSamplesBytes = int64_t{3} << 20;

absl::Status TooMany() {
  return absl::ResourceExhaustedError(absl::StrCat(
      kIngestsWaiting, " changes of datasets wait already; try again when one has ended"));
}

absl::Status TooManyHashes() {
  return absl::ResourceExhaustedError(
      absl::StrCat(kHashesWaiting, " looks at uploads wait already; try again when one has ended"));
}

absl::Status TooManyLooks() {
  return absl::ResourceExhaustedError(
      absl::StrCat(kLooksWaiting, " looks at datasets wait already; try again when one has ended"));
}

// Answers with what `run` returns, from one of the threads of `calls`, or that the caller is gone
// by then; with `refusal` where too many wait.
template <typename Run>
grpc::ServerUnaryReactor* Answer(BlockingCalls& calls, grpc::CallbackServerContext* context,
                                 absl::Status (*refusal)(), Run run) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const auto answer = [context, reactor, run = std::move(run)] {
    const absl::Status waits = CallerStillWaits(*context);
    reactor->Finish(ToGrpcStatus(waits.ok() ? OrWhatItThrows("dataset", run) : waits));
  };
  if (!calls.Start(answer)) reactor->Finish(ToGrpcStatus(refusal()));
  return reactor;
}

void LogWarnings(DatasetRegistry& datasets) {
  for (const std::string& warning : datasets.TakeWarnings()) spdlog::warn("{}", warning);
}

}  // namespace

DatasetsService::DatasetsService(DatasetRegistry& datasets, CheckUnused check_unused)
    : datasets_(datasets),
      check_unused_(std::move(check_unused)),
      ingests_(kIngestsAtOnce, kIngestsWaiting),
      chunks_(kChunksAtOnce, kChunksWaiting),
      looks_(kLooksAtOnce, kLooksWaiting),
      hashes_(kHashesAtOnce, kHashesWaiting) {
  LogWarnings(datasets_);
}

grpc::ServerUnaryReactor* DatasetsService::RegisterDataset(
    grpc::CallbackServerContext* context, const v1::RegisterDatasetRequest* request,
    v1::Dataset* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  NoteTarget(context, absl::StrCat("dataset ", request->name()));
  return Answer(ingests_, context, TooMany, [this, request, response]() -> absl::Status {
    CONVD_ASSIGN_OR_RETURN(*response, datasets_.Register(*request));
    spdlog::info("dataset {}: registered, SHA-256 {}", response->name(), response->sha256());
    return absl::OkStatus();
  });
}

grpc::ServerReadReactor<v1::UploadDatasetRequest>* DatasetsService::UploadDataset(
    grpc::CallbackServerContext* context, v1::Dataset* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  return NewDatasetUploadStream(context, response, datasets_, chunks_, ingests_);
}

grpc::ServerUnaryReactor* DatasetsService::GetUpload(grpc::CallbackServerContext* context,
                                                     const v1::GetUploadRequest* request,
                                                     v1::Upload* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  return Answer(
      hashes_, context, TooManyHashes, [this, context, request, response]() -> absl::Status {
        CONVD_ASSIGN_OR_RETURN(*response, datasets_.GetUpload(request->upload_id(), [context] {
          return CallerStillWaits(*context);
        }));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* DatasetsService::ListUploads(grpc::CallbackServerContext* context,
                                                       const v1::ListUploadsRequest*,
                                                       v1::ListUploadsResponse* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  // Not with the hashes, which may take minutes.
  return Answer(looks_, context, TooManyHashes, [this, response]() -> absl::Status {
    for (v1::Upload& upload : datasets_.ListUploads()) {
      *response->add_uploads() = std::move(upload);
    }
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* DatasetsService::DeleteUpload(grpc::CallbackServerContext* context,
                                                        const v1::DeleteUploadRequest* request,
                                                        v1::DeleteUploadResponse*) {
  if (const Refusal refusal(context); refusal) return refusal;
  NoteTarget(context, absl::StrCat("upload ", request->upload_id()));
  return Answer(hashes_, context, TooManyHashes, [this, request]() -> absl::Status {
    CONVD_RETURN_IF_ERROR(datasets_.DeleteUpload(request->upload_id()));
    LogWarnings(datasets_);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* DatasetsService::ListDatasets(grpc::CallbackServerContext* context,
                                                        const v1::ListDatasetsRequest* request,
                                                        v1::ListDatasetsResponse* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(convd::ListDatasets(datasets_, *request, *response)));
  return reactor;
}

grpc::ServerUnaryReactor* DatasetsService::GetDataset(grpc::CallbackServerContext* context,
                                                      const v1::GetDatasetRequest* request,
                                                      v1::Dataset* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(convd::GetDataset(datasets_, *request, *response)));
  return reactor;
}

absl::Status DatasetsService::Samples(const v1::GetSamplesRequest& request,
                                      v1::GetSamplesResponse& response) {
  CONVD_RETURN_IF_ERROR(CheckName("name", request.name()));
  if (!request.split().empty()) CONVD_RETURN_IF_ERROR(CheckName("split", request.split()));
  if (request.count() < 1 || request.count() > kMaxSamples) {
    return absl::InvalidArgumentError(
        absl::StrCat("count: got ", request.count(), "; want 1 to ", kMaxSamples));
  }
  CONVD_ASSIGN_OR_RETURN(const std::shared_ptr<const Dataset> dataset,
                         datasets_.Load(request.name()));
  const DatasetSplit* const split =
      request.split().empty() ? &dataset->TrainingSplit() : dataset->Find(request.split());
  if (split == nullptr) {
    return absl::NotFoundError(absl::StrCat("split: dataset \"", request.name(),
                                            "\" has none named \"", request.split(), "\""));
  }
  const ImageSet& images = split->images;
  if (request.offset() < 0 || request.offset() >= images.count) {
    return absl::InvalidArgumentError(absl::StrCat("offset: got ", request.offset(), "; split \"",
                                                   split->name, "\" has ", images.count,
                                                   " samples, from 0 on"));
  }
  const int64_t fit = kSamplesBytes / images.image_bytes();
  if (fit == 0) {
    return absl::ResourceExhaustedError(absl::StrCat("a sample has ", images.image_bytes(),
                                                     " bytes; the limit of an answer is ",
                                                     kSamplesBytes));
  }
  const ImageSet samples = images.Slice(
      request.offset(), std::min({request.count(), images.count - request.offset(), fit}));
  v1::RawImages& raw = samples.type == ElementType::kUint8
                           ? *response.mutable_images()->mutable_uint8()
                           : *response.mutable_images()->mutable_float32();
  raw.set_count(samples.count);
  raw.set_height(samples.height);
  raw.set_width(samples.width);
  raw.set_channels(samples.channels);
  raw.set_data(samples.pixels, static_cast<size_t>(samples.count * samples.image_bytes()));
  response.mutable_labels()->Add(samples.labels.begin(), samples.labels.end());
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* DatasetsService::GetSamples(grpc::CallbackServerContext* context,
                                                      const v1::GetSamplesRequest* request,
                                                      v1::GetSamplesResponse* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  return Answer(looks_, context, TooManyLooks, [this, request, response]() -> absl::Status {
    return Samples(*request, *response);
  });
}

grpc::ServerUnaryReactor* DatasetsService::DeleteDataset(grpc::CallbackServerContext* context,
                                                         const v1::DeleteDatasetRequest* request,
                                                         v1::DeleteDatasetResponse*) {
  if (const Refusal refusal(context); refusal) return refusal;
  NoteTarget(context, absl::StrCat("dataset ", request->name()));
  return Answer(ingests_, context, TooMany, [this, request]() -> absl::Status {
    CONVD_RETURN_IF_ERROR(CheckName("name", request->name()));
    {
      absl::MutexLock in_use(&datasets_.in_use());
      CONVD_RETURN_IF_ERROR(check_unused_(request->name()));
      CONVD_RETURN_IF_ERROR(datasets_.Delete(request->name()));
    }
    spdlog::info("dataset {}: deleted", request->name());
    LogWarnings(datasets_);
    return absl::OkStatus();
  });
}

}  // namespace convd
