#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/channel.h"
#include "client/convctl/bench_requests.h"
#include "client/convctl/bench_target.h"
#include "client/convctl/exit_code.h"
#include "client/convctl/model_spec.h"
#include "client/convctl/oip_request.h"
#include "client/grpc_call.h"
#include "client/load/grpc_target.h"
#include "core/status/status_macros.h"
#include "inference/open_inference_grpc.grpc.pb.h"

namespace convd {
namespace {

using Stub = inference::GRPCInferenceService::Stub;

// Only what comes before the load; it may read a model.
constexpr absl::Duration kFirstCall = absl::Minutes(5);

absl::StatusOr<OipInput> AskForInput(Stub& stub, const v1::ModelVersion& model) {
  grpc::ClientContext context;
  SetTimeout(context, kFirstCall);
  inference::ModelMetadataRequest request;
  request.set_name(model.name());
  request.set_version(OipVersion(model));
  inference::ModelMetadataResponse metadata;
  CONVD_RETURN_IF_ERROR(FromGrpcStatus(stub.ModelMetadata(&context, request, &metadata)));
  return OipInputOf(metadata);
}

absl::Status TryOnce(Stub& stub, const inference::ModelInferRequest& request, int64_t images) {
  grpc::ClientContext context;
  SetTimeout(context, kFirstCall);
  inference::ModelInferResponse response;
  CONVD_RETURN_IF_ERROR(FromGrpcStatus(stub.ModelInfer(&context, request, &response)));
  if (response.outputs_size() > 0 && response.outputs(0).shape_size() > 0 &&
      response.outputs(0).shape(0) == images) {
    return absl::OkStatus();
  }
  return absl::InternalError(
      absl::StrCat("the server's first output is not of ", images, " images"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<LoadTarget>> OpenOipTarget(Session& session,
                                                          const BenchCalls& calls) {
  if (calls.top_k || calls.precision != v1::PRECISION_UNSPECIFIED || calls.shape.height() > 0) {
    return UsageError("--top-k, --precision and --shape go with --protocol convd");
  }
  CONVD_ASSIGN_OR_RETURN(const v1::ModelVersion model, ParseModelSpec(calls.model));
  GrpcLoad load;
  load.address = session.server();
  CONVD_ASSIGN_OR_RETURN(load.options, session.connection());
  load.method = "/inference.GRPCInferenceService/ModelInfer";
  load.connections = calls.connections;
  load.slots = calls.slots;
  CONVD_ASSIGN_OR_RETURN(const auto channel, ConnectChannel(load.address, load.options));
  Stub stub(channel);
  CONVD_ASSIGN_OR_RETURN(const OipInput input, AskForInput(stub, model));
  CONVD_ASSIGN_OR_RETURN(std::vector<v1::Images> images,
                         calls.files.empty()
                             ? RandomRequests(input.shape[0], input.shape[1], input.shape[2],
                                              calls.images, static_cast<uint64_t>(calls.seed))
                             : RequestsOfFiles(calls.files, calls.images));
  // Floats take four times the room.
  if (input.is_float) images.resize((images.size() + 3) / 4);
  for (const v1::Images& some : images) {
    CONVD_ASSIGN_OR_RETURN(const inference::ModelInferRequest request,
                           OipRequest(model, input, some));
    if (load.requests.empty()) CONVD_RETURN_IF_ERROR(TryOnce(stub, request, calls.images));
    load.requests.push_back(request.SerializeAsString());
  }
  return ConnectGrpcTarget(load);
}

}  // namespace convd
