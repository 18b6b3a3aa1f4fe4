#include "server/rpc/models_service.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/dnn/explain.h"
#include "core/dnn/gather.h"
#include "core/dnn/plan.h"
#include "core/dnn/precision.h"
#include "core/names/names.h"
#include "core/nn/graph.h"
#include "core/status/status_macros.h"
#include "core/status/thrown.h"
#include "server/models/model_list.h"
#include "server/models/served_precision.h"
#include "server/rpc/call_context.h"
#include "server/rpc/caller.h"
#include "server/rpc/model_streams.h"
#include "server/rpc/status.h"

namespace convd {
namespace {

// For the audit log.
std::string Target(const v1::ModelVersion& model) {
  return absl::StrCat("model ", model.name(),
                      model.label().empty() ? absl::StrCat(" version ", model.version())
                                            : absl::StrCat(" label ", model.label()));
}

constexpr int kChangesAtOnce = 4;
constexpr int kChangesWaiting = 256;
// Apart: a load takes long, and a label must be rolled back at once.
constexpr int kLoadsAtOnce = 4;
// Apart: an export waits for its caller to read, and an import for the disk.
constexpr int kExportsAtOnce = 4;
constexpr int kPiecesAtOnce = 4;
constexpr int kStreamsWaiting = 64;
// Gigabytes are in memory meanwhile.
constexpr int kCommitsAtOnce = 1;

// Of a model whose card doesn't say.
constexpr int64_t kUsualBatch = 1000;

absl::Status CheckBatchSize(int64_t batch_size) {
  if (batch_size >= 0 && batch_size <= kMostExplainedBatch) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("batch_size: got ", batch_size, "; want 1 to ", kMostExplainedBatch,
                   ", or 0 for the one that the model was trained with"));
}

// A card may come from elsewhere: figures that no training has count as none.
ExplainOptions OptionsFor(int64_t batch_size, const v1::TrainRequest& trained) {
  ExplainOptions options;
  options.batch_size = batch_size;
  if (batch_size > 0) return options;
  options.batch_size = kUsualBatch;
  if (trained.batch_size() < 1 || trained.batch_size() > kMostExplainedBatch) return options;
  options.batch_size = trained.batch_size();
  if (trained.micro_batch() > 0 && trained.micro_batch() <= options.batch_size) {
    options.micro_batch = trained.micro_batch();
  }
  return options;
}

// The same of precisions.
v1::Precision TrainingPrecision(v1::Precision requested, const v1::TrainRequest& trained) {
  const v1::Precision meant =
      requested != v1::PRECISION_UNSPECIFIED ? requested : trained.precision();
  return meant == v1::PRECISION_BF16 ? v1::PRECISION_BF16 : v1::PRECISION_F32;
}

// The engine's word for what the request calls a model.
absl::Status InModelField(const absl::Status& status) {
  absl::string_view message = status.message();
  if (!absl::ConsumePrefix(&message, "network: ")) return status;
  return absl::Status(status.code(), absl::StrCat("model: ", message));
}

}  // namespace

ModelsService::ModelsService(ModelRepository& models, Executor& executor,
                             const ExplainLimits& limits, const Clock& clock, ModelChanges changes)
    : models_(models),
      executor_(executor),
      limits_(limits),
      clock_(clock),
      changes_(std::move(changes)),
      calls_(/*threads=*/1, limits.waiting),
      change_calls_(kChangesAtOnce, kChangesWaiting),
      load_calls_(kLoadsAtOnce, kChangesWaiting),
      export_calls_(kExportsAtOnce, kStreamsWaiting),
      import_pieces_(kPiecesAtOnce, kStreamsWaiting),
      import_commits_(kCommitsAtOnce, kStreamsWaiting) {}

grpc::ServerUnaryReactor* ModelsService::ListModels(grpc::CallbackServerContext* context,
                                                    const v1::ListModelsRequest* request,
                                                    v1::ListModelsResponse* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(convd::ListModels(models_, *request, *response)));
  return reactor;
}

grpc::ServerUnaryReactor* ModelsService::GetModel(grpc::CallbackServerContext* context,
                                                  const v1::GetModelRequest* request,
                                                  v1::Model* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(convd::GetModel(models_, *request, *response)));
  return reactor;
}

grpc::ServerUnaryReactor* ModelsService::ExplainModel(grpc::CallbackServerContext* context,
                                                      const v1::ExplainModelRequest* request,
                                                      v1::ExplainModelResponse* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  absl::Status status = CheckModelVersion(request->model());
  if (status.ok()) status = CheckBatchSize(request->batch_size());
  if (status.ok() && !calls_.Start([this, context, request, response, reactor] {
        reactor->Finish(ToGrpcStatus(
            OrWhatItThrows("model", [&] { return Explain(*context, *request, *response); })));
      })) {
    status = absl::ResourceExhaustedError(absl::StrCat("a model is being explained and ",
                                                       limits_.waiting,
                                                       " wait already; try again in a moment"));
  }
  if (!status.ok()) reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

absl::Status ModelsService::Explain(const grpc::CallbackServerContext& context,
                                    const v1::ExplainModelRequest& request,
                                    v1::ExplainModelResponse& response) {
  CONVD_RETURN_IF_ERROR(CallerStillWaits(context));
  CONVD_ASSIGN_OR_RETURN(const v1::Model model, models_.Get(request.model()));
  const v1::ModelCard& card = model.card();
  CONVD_RETURN_IF_ERROR(CheckServed(card, request.precision(), CheckPrecision));
  CONVD_ASSIGN_OR_RETURN(const Graph graph, Graph::Create(card.network()));
  ExplainOptions options = OptionsFor(request.batch_size(), card.request());
  options.micro_batch = std::min(options.micro_batch, MostMicroBatchImages(graph));
  options.memory_bytes = limits_.memory_bytes;
  options.train_precision = TrainingPrecision(request.precision(), card.request());
  options.predict_precision = ChoosePrecision(card, request.precision());
  options.quantization = &card.quantization();
  // The card may be from elsewhere; what it was trained with is no reason not to explain it.
  if (CheckAugmentation(card.request().augmentation(), graph.input()).ok()) {
    options.augmentation = card.request().augmentation();
  }
  absl::StatusOr<v1::Explanation> explanation;
  executor_.ForEach(Lane::kEvaluate, 1, [&](int64_t) {
    explanation = OrWhatItThrows("model", [&] {
      return convd::Explain(graph, options, clock_, [&] {
        executor_.Cut();
        return CallerStillWaits(context).ok();
      });
    });
  });
  if (absl::IsCancelled(explanation.status())) CONVD_RETURN_IF_ERROR(CallerStillWaits(context));
  if (!explanation.ok()) return InModelField(explanation.status());
  *response.mutable_model() = card.model();
  *response.mutable_explanation() = *std::move(explanation);
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* ModelsService::GetModelPolicy(grpc::CallbackServerContext* context,
                                                        const v1::GetModelPolicyRequest* request,
                                                        v1::ModelPolicy* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  absl::StatusOr<v1::ModelPolicy> policy = models_.Policy(request->name());
  const absl::Status status = policy.status();
  if (policy.ok()) *response = *std::move(policy);
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

grpc::ServerUnaryReactor* ModelsService::Change(grpc::CallbackServerContext* context,
                                                std::function<absl::Status()> run) {
  return Run(change_calls_, context, std::move(run));
}

grpc::ServerUnaryReactor* ModelsService::Run(BlockingCalls& calls,
                                             grpc::CallbackServerContext* context,
                                             std::function<absl::Status()> run) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const bool accepted = calls.Start([this, context, reactor, run = std::move(run)] {
    absl::Status status = CallerStillWaits(*context);
    if (status.ok()) status = OrWhatItThrows("model", run);
    for (const std::string& warning : models_.TakeWarnings()) spdlog::warn("{}", warning);
    reactor->Finish(ToGrpcStatus(status));
  });
  if (!accepted) {
    reactor->Finish(ToGrpcStatus(absl::ResourceExhaustedError(
        absl::StrCat(kChangesWaiting, " such calls wait already; try again in a moment"))));
  }
  return reactor;
}

grpc::ServerUnaryReactor* ModelsService::UpdateModelPolicy(
    grpc::CallbackServerContext* context, const v1::UpdateModelPolicyRequest* request,
    v1::ModelPolicy* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  NoteTarget(context, absl::StrCat("model ", request->name()));
  return Change(context, [this, request, response]() -> absl::Status {
    CONVD_ASSIGN_OR_RETURN(*response, models_.UpdatePolicy(*request));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* ModelsService::MoveLabel(grpc::CallbackServerContext* context,
                                                   const v1::MoveLabelRequest* request,
                                                   v1::ModelPolicy* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  NoteTarget(context, absl::StrCat("model ", request->name(), " label ", request->label(),
                                   " to version ", request->version()));
  return Change(context, [this, request, response]() -> absl::Status {
    CONVD_ASSIGN_OR_RETURN(
        *response, models_.MoveLabel(request->name(), request->label(), request->version()));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* ModelsService::RollBackLabel(grpc::CallbackServerContext* context,
                                                       const v1::RollBackLabelRequest* request,
                                                       v1::ModelPolicy* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  NoteTarget(context, absl::StrCat("model ", request->name(), " label ", request->label()));
  return Change(context, [this, request, response]() -> absl::Status {
    CONVD_ASSIGN_OR_RETURN(*response, models_.RollBackLabel(request->name(), request->label()));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* ModelsService::RemoveLabel(grpc::CallbackServerContext* context,
                                                     const v1::RemoveLabelRequest* request,
                                                     v1::ModelPolicy* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  NoteTarget(context, absl::StrCat("model ", request->name(), " label ", request->label()));
  return Change(context, [this, request, response]() -> absl::Status {
    CONVD_ASSIGN_OR_RETURN(*response, models_.RemoveLabel(request->name(), request->label()));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* ModelsService::LoadModel(grpc::CallbackServerContext* context,
                                                   const v1::LoadModelRequest* request,
                                                   v1::LoadModelResponse* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  NoteTarget(context, Target(request->model()));
  return Run(load_calls_, context, [this, request, response]() -> absl::Status {
    CONVD_ASSIGN_OR_RETURN(const std::shared_ptr<const LoadedModel> loaded,
                           models_.Load(request->model(), request->precision()));
    *response->mutable_model() = loaded->card.model();
    response->set_precision(loaded->precision);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* ModelsService::UnloadModel(grpc::CallbackServerContext* context,
                                                     const v1::UnloadModelRequest* request,
                                                     v1::UnloadModelResponse*) {
  if (const Refusal refusal(context); refusal) return refusal;
  NoteTarget(context, Target(request->model()));
  return Change(context, [this, request] { return models_.Unload(request->model()); });
}

grpc::ServerUnaryReactor* ModelsService::DeleteModel(grpc::CallbackServerContext* context,
                                                     const v1::DeleteModelRequest* request,
                                                     v1::DeleteModelResponse*) {
  if (const Refusal refusal(context); refusal) return refusal;
  NoteTarget(context, Target(request->model()));
  return Change(context, [this, request]() -> absl::Status {
    absl::MutexLock unused(&models_.in_use());
    CONVD_RETURN_IF_ERROR(changes_.check_unused(request->model()));
    CONVD_RETURN_IF_ERROR(models_.Delete(request->model()));
    spdlog::info("model {} version {}: deleted", request->model().name(),
                 request->model().version());
    return absl::OkStatus();
  });
}

grpc::ServerWriteReactor<v1::ExportModelResponse>* ModelsService::ExportModel(
    grpc::CallbackServerContext* context, const v1::ExportModelRequest* request) {
  if (const Refusal refusal(context); refusal) return refusal;
  return NewModelExportStream(context, request, models_, export_calls_);
}

grpc::ServerWriteReactor<v1::ExportModelResponse>* ModelsService::ExportOnnx(
    grpc::CallbackServerContext* context, const v1::ExportOnnxRequest* request) {
  if (const Refusal refusal(context); refusal) return refusal;
  return NewOnnxExportStream(context, request, models_, export_calls_);
}

grpc::ServerReadReactor<v1::ImportModelRequest>* ModelsService::ImportModel(
    grpc::CallbackServerContext* context, v1::Model* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  return NewModelImportStream(context, response, models_, changes_.fs, changes_.take_room,
                              import_pieces_, import_commits_);
}

}  // namespace convd
