#ifndef CONVD_SERVER_RPC_JOBS_SERVICE_H_
#define CONVD_SERVER_RPC_JOBS_SERVICE_H_

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "convd/v1/jobs.grpc.pb.h"
#include "server/datasets/registry.h"
#include "server/jobs/resolve.h"
#include "server/jobs/runner.h"
#include "server/predict/blocking_calls.h"

namespace convd {

// convd.v1.Jobs. Train checks on a thread of the service, since it reads datasets; the rest answers
// from memory. Runner and registry outlive the service, and the gRPC server is gone before it.
class JobsService final : public v1::Jobs::CallbackService {
 public:
  JobsService(JobRunner& runner, DatasetRegistry& datasets, ModelRepository& models,
              const JobMemory& memory = {});

  // A job is queued whether or not its caller still listens.
  grpc::ServerUnaryReactor* Train(grpc::CallbackServerContext* context,
                                  const v1::TrainRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext* context,
                                   const v1::GetJobRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* ListJobs(grpc::CallbackServerContext* context,
                                     const v1::ListJobsRequest* request,
                                     v1::ListJobsResponse* response) override;
  // Events as JobWatch gives them, one outstanding write. Ends with OK after the ended job, and
  // with UNAVAILABLE where the server stops before that.
  grpc::ServerWriteReactor<v1::JobEvent>* WatchJob(grpc::CallbackServerContext* context,
                                                   const v1::WatchJobRequest* request) override;
  grpc::ServerUnaryReactor* CancelJob(grpc::CallbackServerContext* context,
                                      const v1::CancelJobRequest* request,
                                      v1::Job* response) override;
  grpc::ServerUnaryReactor* PauseJob(grpc::CallbackServerContext* context,
                                     const v1::PauseJobRequest* request,
                                     v1::Job* response) override;
  grpc::ServerUnaryReactor* ResumeJob(grpc::CallbackServerContext* context,
                                      const v1::ResumeJobRequest* request,
                                      v1::Job* response) override;
  grpc::ServerUnaryReactor* UpdateJob(grpc::CallbackServerContext* context,
                                      const v1::UpdateJobRequest* request,
                                      v1::Job* response) override;

 private:
  // Answers with what `call` returns, from a thread that may wait for the disk.
  grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context,
                                   absl::AnyInvocable<absl::Status()> call);
  grpc::ServerUnaryReactor* AnswerJob(grpc::CallbackServerContext* context, v1::Job* response,
                                      absl::AnyInvocable<absl::StatusOr<v1::Job>()> call);
  absl::Status Queue(const grpc::CallbackServerContext& context, const v1::TrainRequest& request,
                     v1::Job& response);

  JobRunner& runner_;
  DatasetRegistry& datasets_;
  ModelRepository& models_;
  const JobMemory memory_;
  // Last: their calls use the rest.
  BlockingCalls checks_;  // of requests to train
  BlockingCalls calls_;   // to the store
};

}  // namespace convd

#endif  // CONVD_SERVER_RPC_JOBS_SERVICE_H_
