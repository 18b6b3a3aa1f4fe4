#include "server/rpc/models_service.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/dnn/explain.h"
#include "core/dnn/gather.h"
#include "core/dnn/precision.h"
#include "core/names/names.h"
#include "core/nn/graph.h"
#include "core/status/status_macros.h"
#include "server/models/served_precision.h"
#include "server/rpc/caller.h"
#include "server/rpc/page.h"
#include "server/rpc/status.h"

namespace convd {
namespace {

std::string PageToken(const v1::ModelVersion& last) {
  return absl::WebSafeBase64Escape(absl::StrCat(last.name(), "/", last.version()));
}

absl::StatusOr<v1::ModelVersion> ParsePageToken(const std::string& token) {
  std::string text;
  v1::ModelVersion last;
  int64_t number = 0;
  // A token is 88 bytes at most; whatever is longer isn't worth decoding.
  if (token.size() <= 128 && absl::WebSafeBase64Unescape(token, &text)) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits('/', 1));
    if (CheckName("name", parts.first).ok() && absl::SimpleAtoi(parts.second, &number) &&
        number > 0) {
      last.set_name(parts.first);
      last.set_version(number);
      return last;
    }
  }
  return UnknownPageToken();
}

// Name by name, the newest version first.
bool Before(const v1::ModelVersion& a, const v1::ModelVersion& b) {
  return a.name() != b.name() ? a.name() < b.name() : a.version() > b.version();
}

// What a list is read for stays: who, when, and how good.
void LeaveOutDetails(v1::Model& model) {
  model.clear_summary();
  model.mutable_card()->clear_history();
  model.mutable_card()->clear_quantization();
  const auto leave_out = [](v1::Metrics& metrics) {
    metrics.clear_classes();
    metrics.clear_confusion();
  };
  if (model.card().has_validation()) leave_out(*model.mutable_card()->mutable_validation());
  for (v1::Evaluation& evaluation : *model.mutable_evaluations()) {
    if (evaluation.has_metrics()) leave_out(*evaluation.mutable_metrics());
  }
}

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
                             const ExplainLimits& limits, const Clock& clock)
    : models_(models),
      executor_(executor),
      limits_(limits),
      clock_(clock),
      calls_(/*threads=*/1, limits.waiting) {}

absl::Status ModelsService::List(const v1::ListModelsRequest& request,
                                 v1::ListModelsResponse& response) {
  if (!request.name().empty()) CONVD_RETURN_IF_ERROR(CheckName("name", request.name()));
  CONVD_ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size()));
  const std::vector<v1::ModelVersion> versions = models_.Versions(request.name());
  auto next = versions.begin();
  if (!request.page_token().empty()) {
    CONVD_ASSIGN_OR_RETURN(const v1::ModelVersion last, ParsePageToken(request.page_token()));
    next = std::upper_bound(versions.begin(), versions.end(), last, Before);
  }
  size_t bytes = 0;
  const v1::ModelVersion* shown = nullptr;
  for (; next != versions.end() && response.models_size() < page_size; ++next) {
    absl::StatusOr<v1::Model> model = models_.Get(*next);
    if (!model.ok()) continue;  // found damaged since
    LeaveOutDetails(*model);
    bytes += model->ByteSizeLong();
    if (bytes > kPageBytes && response.models_size() > 0) break;
    *response.add_models() = *std::move(model);
    shown = &*next;
  }
  if (next != versions.end() && shown != nullptr) response.set_next_page_token(PageToken(*shown));
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* ModelsService::ListModels(grpc::CallbackServerContext* context,
                                                    const v1::ListModelsRequest* request,
                                                    v1::ListModelsResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(List(*request, *response)));
  return reactor;
}

grpc::ServerUnaryReactor* ModelsService::GetModel(grpc::CallbackServerContext* context,
                                                  const v1::GetModelRequest* request,
                                                  v1::Model* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  absl::Status status = CheckModelVersion(request->model());
  if (status.ok()) {
    absl::StatusOr<v1::Model> model = models_.Get(request->model());
    status = model.status();
    if (model.ok()) *response = *std::move(model);
  }
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

grpc::ServerUnaryReactor* ModelsService::ExplainModel(grpc::CallbackServerContext* context,
                                                      const v1::ExplainModelRequest* request,
                                                      v1::ExplainModelResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  absl::Status status = CheckModelVersion(request->model());
  if (status.ok()) status = CheckBatchSize(request->batch_size());
  if (status.ok() && !calls_.Start([this, context, request, response, reactor] {
        reactor->Finish(ToGrpcStatus(Explain(*context, *request, *response)));
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
    explanation = convd::Explain(graph, options, clock_, [&] {
      executor_.Cut();
      return CallerStillWaits(context).ok();
    });
  });
  if (absl::IsCancelled(explanation.status())) CONVD_RETURN_IF_ERROR(CallerStillWaits(context));
  if (!explanation.ok()) return InModelField(explanation.status());
  *response.mutable_model() = card.model();
  *response.mutable_explanation() = *std::move(explanation);
  return absl::OkStatus();
}

}  // namespace convd
