#include "server/rpc/inference_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"
#include "core/status/thrown.h"
#include "server/inference/infer.h"
#include "server/inference/infer_request.h"
#include "server/inference/model_state.h"
#include "server/rpc/call_context.h"
#include "server/rpc/caller.h"
#include "server/rpc/status.h"

namespace convd {
namespace {

constexpr int kCallsAtOnce = 2;
constexpr int kCallsWaiting = 64;

grpc::ServerUnaryReactor* Finished(grpc::CallbackServerContext* context,
                                   const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

}  // namespace

InferenceService::InferenceService(ModelRepository& models, Predictor& predictor,
                                   std::string version)
    : models_(models),
      predictor_(predictor),
      version_(std::move(version)),
      calls_(kCallsAtOnce, kCallsWaiting) {
  SetMessageAllocatorFor_ModelInfer(&messages_);
}

grpc::ServerUnaryReactor* InferenceService::ServerLive(grpc::CallbackServerContext* context,
                                                       const inference::ServerLiveRequest*,
                                                       inference::ServerLiveResponse* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  response->set_live(true);
  return Finished(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* InferenceService::ServerReady(grpc::CallbackServerContext* context,
                                                        const inference::ServerReadyRequest*,
                                                        inference::ServerReadyResponse* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  response->set_ready(true);  // from the signal to stop on, no call is answered
  return Finished(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* InferenceService::ModelReady(grpc::CallbackServerContext* context,
                                                       const inference::ModelReadyRequest* request,
                                                       inference::ModelReadyResponse* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  const auto version = ReadNamedVersion("name", request->name(), "version", request->version());
  if (version.ok()) response->set_ready(CheckReady(models_, *version).ok());
  return Finished(context, version.status());
}

grpc::ServerUnaryReactor* InferenceService::ServerMetadata(
    grpc::CallbackServerContext* context, const inference::ServerMetadataRequest*,
    inference::ServerMetadataResponse* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  FillServerMetadata(version_, *response);
  return Finished(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* InferenceService::ModelMetadata(
    grpc::CallbackServerContext* context, const inference::ModelMetadataRequest* request,
    inference::ModelMetadataResponse* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  const auto version = ReadNamedVersion("name", request->name(), "version", request->version());
  return Finished(
      context, version.ok() ? FillModelMetadata(models_, *version, *response) : version.status());
}

grpc::ServerUnaryReactor* InferenceService::ModelInfer(grpc::CallbackServerContext* context,
                                                       const inference::ModelInferRequest* request,
                                                       inference::ModelInferResponse* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  NoteModel(context, request->model_name());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  Infer(predictor_, *request, *response, StillWantedBy(*context, CameAt(*context)),
        [reactor](const absl::Status& status) { reactor->Finish(ToGrpcStatus(status)); });
  return reactor;
}

grpc::ServerUnaryReactor* InferenceService::Run(grpc::CallbackServerContext* context,
                                                std::function<absl::Status()> run) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const bool accepted = calls_.Start([context, reactor, run = std::move(run)] {
    absl::Status status = CallerStillWaits(*context);
    if (status.ok()) status = OrWhatItThrows("model", run);
    reactor->Finish(ToGrpcStatus(status));
  });
  if (!accepted) {
    reactor->Finish(ToGrpcStatus(absl::ResourceExhaustedError(
        absl::StrCat(kCallsWaiting, " such calls wait already; try again in a moment"))));
  }
  return reactor;
}

grpc::ServerUnaryReactor* InferenceService::RepositoryIndex(
    grpc::CallbackServerContext* context, const inference::RepositoryIndexRequest* request,
    inference::RepositoryIndexResponse* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  return Run(context, [this, request, response] {
    return FillRepositoryIndex(models_, *request, predictor_.queue().limits().max_response_bytes,
                               *response);
  });
}

grpc::ServerUnaryReactor* InferenceService::RepositoryModelLoad(
    grpc::CallbackServerContext* context, const inference::RepositoryModelLoadRequest* request,
    inference::RepositoryModelLoadResponse*) {
  if (const Refusal refusal(context); refusal) return refusal;
  NoteTarget(context, absl::StrCat("model ", request->model_name()));
  return Run(context, [this, request] { return LoadNamedModel(models_, *request); });
}

grpc::ServerUnaryReactor* InferenceService::RepositoryModelUnload(
    grpc::CallbackServerContext* context, const inference::RepositoryModelUnloadRequest* request,
    inference::RepositoryModelUnloadResponse*) {
  if (const Refusal refusal(context); refusal) return refusal;
  NoteTarget(context, absl::StrCat("model ", request->model_name()));
  return Run(context, [this, request] { return UnloadNamedModel(models_, *request); });
}

}  // namespace convd
