#ifndef CONVD_SERVER_RPC_MODELS_SERVICE_H_
#define CONVD_SERVER_RPC_MODELS_SERVICE_H_

#include "absl/status/status.h"
#include "convd/v1/models.grpc.pb.h"
#include "server/models/repository.h"

namespace convd {

// convd.v1.Models. Answers from memory, on the callback's thread. The repository outlives it.
class ModelsService final : public v1::Models::CallbackService {
 public:
  explicit ModelsService(ModelRepository& models);

  // A page ends at page_size models or about a megabyte. Its token names the last model shown, so
  // versions published meanwhile make no other one appear twice or never.
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest* request,
                                     v1::Model* response) override;

 private:
  absl::Status List(const v1::ListModelsRequest& request, v1::ListModelsResponse& response);

  ModelRepository& models_;
};

}  // namespace convd

#endif  // CONVD_SERVER_RPC_MODELS_SERVICE_H_
