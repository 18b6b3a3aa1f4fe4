#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/convctl/bench_requests.h"
#include "client/convctl/bench_target.h"
#include "client/convctl/exit_code.h"
#include "client/convctl/model_spec.h"
#include "client/load/grpc_target.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

// Of the model's card only what is left open.
absl::StatusOr<std::vector<v1::Images>> MakeImages(Client& client, const v1::ModelVersion& model,
                                                   const BenchCalls& calls) {
  if (!calls.files.empty()) return RequestsOfFiles(calls.files, calls.images);
  const uint64_t seed = static_cast<uint64_t>(calls.seed);
  if (calls.shape.height() > 0) {
    return RandomRequests(calls.shape.height(), calls.shape.width(),
                          std::max(1, calls.shape.channels()), calls.images, seed);
  }
  const absl::StatusOr<v1::Model> card = client.GetModel(model);
  if (!card.ok() && card.status().code() == absl::StatusCode::kUnimplemented) {
    return WithHint(card.status(), "name the images' shape with --shape, or images with --from");
  }
  CONVD_RETURN_IF_ERROR(card.status());
  const v1::InputShape& shape = card->card().network().input();
  return RandomRequests(shape.height(), shape.width(), shape.channels(), calls.images, seed);
}

absl::Status TryOnce(Client& client, const v1::PredictRequest& request, int64_t images) {
  CONVD_ASSIGN_OR_RETURN(const v1::PredictResponse response, client.Predict(request));
  if (response.predictions_size() == images) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("the server answered ", response.predictions_size(),
                                          " predictions for ", images, " images"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<LoadTarget>> OpenConvdTarget(Session& session,
                                                            const BenchCalls& calls) {
  v1::PredictRequest request;
  CONVD_ASSIGN_OR_RETURN(*request.mutable_model(), ParseModelSpec(calls.model));
  request.set_top_k(calls.top_k.value_or(1));
  request.set_precision(calls.precision);
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_ASSIGN_OR_RETURN(std::vector<v1::Images> images,
                         MakeImages(*client, request.model(), calls));
  GrpcLoad load;
  load.address = session.server();
  CONVD_ASSIGN_OR_RETURN(load.options, session.connection());
  load.method = "/convd.v1.Predictor/Predict";
  load.connections = calls.connections;
  load.slots = calls.slots;
  for (v1::Images& some : images) {
    *request.mutable_images() = std::move(some);
    if (load.requests.empty()) CONVD_RETURN_IF_ERROR(TryOnce(*client, request, calls.images));
    load.requests.push_back(request.SerializeAsString());
  }
  return ConnectGrpcTarget(load);
}

}  // namespace convd
