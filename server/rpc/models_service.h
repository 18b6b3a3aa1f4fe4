#ifndef CONVD_SERVER_RPC_MODELS_SERVICE_H_
#define CONVD_SERVER_RPC_MODELS_SERVICE_H_

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "convd/v1/models.grpc.pb.h"
#include "core/exec/executor.h"
#include "core/storage/file_system.h"
#include "core/time/clock.h"
#include "server/models/repository.h"
#include "server/predict/blocking_calls.h"

namespace convd {

struct ExplainLimits {
  int waiting = 4;           // while one runs; more are refused with RESOURCE_EXHAUSTED
  int64_t memory_bytes = 0;  // what running a network's plans may take; 0: no limit
};

// How changes of the models are checked against the rest of the server.
struct ModelChanges {
  FileSystem& fs = FileSystem::Posix();
  // FAILED_PRECONDITION naming a job that needs the version.
  std::function<absl::Status(const v1::ModelVersion&)> check_unused = [](const v1::ModelVersion&) {
    return absl::OkStatus();
  };
  // OK where what is kept may grow by so many bytes.
  std::function<absl::Status(int64_t)> take_room = [](int64_t) { return absl::OkStatus(); };
};

// convd.v1.Models. Answers from memory, on the callback's thread; but explains models one at a time
// in the evaluate lane, and changes, loads, exports and imports them, waited for by threads of the
// service. The destructor waits for those that were accepted; repository, executor, clock and what
// the changes ask outlive the service, and the gRPC server is gone before it.
class ModelsService final : public v1::Models::CallbackService {
 public:
  ModelsService(ModelRepository& models, Executor& executor, const ExplainLimits& limits = {},
                const Clock& clock = Clock::Real(), ModelChanges changes = {});

  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest* request,
                                     v1::Model* response) override;
  grpc::ServerUnaryReactor* ExplainModel(grpc::CallbackServerContext* context,
                                         const v1::ExplainModelRequest* request,
                                         v1::ExplainModelResponse* response) override;

  grpc::ServerUnaryReactor* GetModelPolicy(grpc::CallbackServerContext* context,
                                           const v1::GetModelPolicyRequest* request,
                                           v1::ModelPolicy* response) override;
  grpc::ServerUnaryReactor* UpdateModelPolicy(grpc::CallbackServerContext* context,
                                              const v1::UpdateModelPolicyRequest* request,
                                              v1::ModelPolicy* response) override;
  grpc::ServerUnaryReactor* MoveLabel(grpc::CallbackServerContext* context,
                                      const v1::MoveLabelRequest* request,
                                      v1::ModelPolicy* response) override;
  grpc::ServerUnaryReactor* RollBackLabel(grpc::CallbackServerContext* context,
                                          const v1::RollBackLabelRequest* request,
                                          v1::ModelPolicy* response) override;
  grpc::ServerUnaryReactor* RemoveLabel(grpc::CallbackServerContext* context,
                                        const v1::RemoveLabelRequest* request,
                                        v1::ModelPolicy* response) override;
  grpc::ServerUnaryReactor* LoadModel(grpc::CallbackServerContext* context,
                                      const v1::LoadModelRequest* request,
                                      v1::LoadModelResponse* response) override;
  grpc::ServerUnaryReactor* UnloadModel(grpc::CallbackServerContext* context,
                                        const v1::UnloadModelRequest* request,
                                        v1::UnloadModelResponse* response) override;
  grpc::ServerUnaryReactor* DeleteModel(grpc::CallbackServerContext* context,
                                        const v1::DeleteModelRequest* request,
                                        v1::DeleteModelResponse* response) override;
  grpc::ServerWriteReactor<v1::ExportModelResponse>* ExportModel(
      grpc::CallbackServerContext* context, const v1::ExportModelRequest* request) override;
  grpc::ServerWriteReactor<v1::ExportModelResponse>* ExportOnnx(
      grpc::CallbackServerContext* context, const v1::ExportOnnxRequest* request) override;
  grpc::ServerReadReactor<v1::ImportModelRequest>* ImportModel(grpc::CallbackServerContext* context,
                                                               v1::Model* response) override;

 private:
  // Runs it on one of the threads of `calls`, and logs what the repository warns of.
  grpc::ServerUnaryReactor* Run(BlockingCalls& calls, grpc::CallbackServerContext* context,
                                std::function<absl::Status()> run);
  grpc::ServerUnaryReactor* Change(grpc::CallbackServerContext* context,
                                   std::function<absl::Status()> run);
  absl::Status Explain(const grpc::CallbackServerContext& context,
                       const v1::ExplainModelRequest& request, v1::ExplainModelResponse& response);

  ModelRepository& models_;
  Executor& executor_;
  const ExplainLimits limits_;
  const Clock& clock_;
  const ModelChanges changes_;
  // Last: their calls use the rest.
  BlockingCalls calls_;
  BlockingCalls change_calls_;
  BlockingCalls load_calls_;  // which nothing that is urgent waits for
  BlockingCalls export_calls_;
  BlockingCalls import_pieces_;
  BlockingCalls import_commits_;
};

}  // namespace convd

#endif  // CONVD_SERVER_RPC_MODELS_SERVICE_H_
