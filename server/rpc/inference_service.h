#ifndef CONVD_SERVER_RPC_INFERENCE_SERVICE_H_
#define CONVD_SERVER_RPC_INFERENCE_SERVICE_H_

#include <functional>
#include <string>

#include "inference/open_inference_grpc.grpc.pb.h"
#include "server/models/repository.h"
#include "server/predict/blocking_calls.h"
#include "server/predict/predictor.h"
#include "server/rpc/arena_messages.h"

namespace convd {

// inference.GRPCInferenceService: the Open Inference Protocol (docs/oip.md). Repository and
// predictor outlive the service, and the gRPC server is gone before it.
class InferenceService final : public inference::GRPCInferenceService::CallbackService {
 public:
  // `version` is the server's.
  InferenceService(ModelRepository& models, Predictor& predictor, std::string version);

  grpc::ServerUnaryReactor* ServerLive(grpc::CallbackServerContext* context,
                                       const inference::ServerLiveRequest* request,
                                       inference::ServerLiveResponse* response) override;
  grpc::ServerUnaryReactor* ServerReady(grpc::CallbackServerContext* context,
                                        const inference::ServerReadyRequest* request,
                                        inference::ServerReadyResponse* response) override;
  grpc::ServerUnaryReactor* ModelReady(grpc::CallbackServerContext* context,
                                       const inference::ModelReadyRequest* request,
                                       inference::ModelReadyResponse* response) override;
  grpc::ServerUnaryReactor* ServerMetadata(grpc::CallbackServerContext* context,
                                           const inference::ServerMetadataRequest* request,
                                           inference::ServerMetadataResponse* response) override;
  grpc::ServerUnaryReactor* ModelMetadata(grpc::CallbackServerContext* context,
                                          const inference::ModelMetadataRequest* request,
                                          inference::ModelMetadataResponse* response) override;
  grpc::ServerUnaryReactor* ModelInfer(grpc::CallbackServerContext* context,
                                       const inference::ModelInferRequest* request,
                                       inference::ModelInferResponse* response) override;
  grpc::ServerUnaryReactor* RepositoryIndex(grpc::CallbackServerContext* context,
                                            const inference::RepositoryIndexRequest* request,
                                            inference::RepositoryIndexResponse* response) override;
  grpc::ServerUnaryReactor* RepositoryModelLoad(
      grpc::CallbackServerContext* context, const inference::RepositoryModelLoadRequest* request,
      inference::RepositoryModelLoadResponse* response) override;
  grpc::ServerUnaryReactor* RepositoryModelUnload(
      grpc::CallbackServerContext* context, const inference::RepositoryModelUnloadRequest* request,
      inference::RepositoryModelUnloadResponse* response) override;

 private:
  // Runs `run` on a thread that may wait, and finishes the call with what it returns.
  grpc::ServerUnaryReactor* Run(grpc::CallbackServerContext* context,
                                std::function<absl::Status()> run);

  ModelRepository& models_;
  Predictor& predictor_;
  ArenaMessages<inference::ModelInferRequest, inference::ModelInferResponse> messages_;
  const std::string version_;
  BlockingCalls calls_;  // of the repository; last: they use the rest
};

}  // namespace convd

#endif  // CONVD_SERVER_RPC_INFERENCE_SERVICE_H_
