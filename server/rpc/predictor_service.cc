#include "server/rpc/predictor_service.h"

#include "server/rpc/call_context.h"
#include "server/rpc/caller.h"
#include "server/rpc/status.h"

namespace convd {

grpc::ServerUnaryReactor* PredictorService::Predict(grpc::CallbackServerContext* context,
                                                    const v1::PredictRequest* request,
                                                    v1::PredictResponse* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  NoteModel(context, request->model().name());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  predictor_.Predict(
      *request, *response, StillWantedBy(*context),
      [reactor](const absl::Status& status) { reactor->Finish(ToGrpcStatus(status)); });
  return reactor;
}

}  // namespace convd
