#include "server/rpc/predictor_service.h"

#include <memory>
#include <utility>

#include "core/names/names.h"
#include "server/rpc/call_context.h"
#include "server/rpc/caller.h"
#include "server/rpc/model_loading.h"
#include "server/rpc/status.h"

namespace convd {
namespace {

// Different models load side by side; those who wait for one hold their request's bytes.
constexpr int kLoadsAtOnce = 4;
constexpr int kLoadsWaiting = 256;

}  // namespace

PredictorService::PredictorService(ModelRepository& models, Executor& executor,
                                   const PredictLimits& limits)
    : models_(models), queue_(executor, limits), loads_(kLoadsAtOnce, kLoadsWaiting) {}

grpc::ServerUnaryReactor* PredictorService::Predict(grpc::CallbackServerContext* context,
                                                    const v1::PredictRequest* request,
                                                    v1::PredictResponse* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (absl::Status status = CheckModelVersion(request->model()); !status.ok()) {
    reactor->Finish(ToGrpcStatus(status));
    return reactor;
  }
  auto predict = [this, context, request, response,
                  reactor](std::shared_ptr<const LoadedModel> model) {
    queue_.Predict(
        std::move(model), *request, *response, [context] { return CallerStillWaits(*context); },
        [reactor](absl::Status status) { reactor->Finish(ToGrpcStatus(status)); });
  };
  if (std::shared_ptr<const LoadedModel> model =
          models_.FindLoaded(request->model(), request->precision())) {
    predict(std::move(model));
    return reactor;
  }
  const bool accepted = loads_.Start([this, context, request, reactor, predict] {
    absl::Status status = CallerStillWaits(*context);
    if (!status.ok()) return reactor->Finish(ToGrpcStatus(status));
    absl::StatusOr<std::shared_ptr<const LoadedModel>> model =
        LoadModel(models_, request->model(), request->precision());
    if (!model.ok()) return reactor->Finish(ToGrpcStatus(model.status()));
    predict(*std::move(model));
  });
  if (!accepted) {
    reactor->Finish(ToGrpcStatus(absl::ResourceExhaustedError(
        "too many predictions wait for a model to be loaded; try again in a moment, with a longer "
        "pause each time")));
  }
  return reactor;
}

}  // namespace convd
