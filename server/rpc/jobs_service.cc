#include "server/rpc/jobs_service.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"
#include "core/status/thrown.h"
#include "server/jobs/job_list.h"
#include "server/rpc/call_context.h"
#include "server/rpc/caller.h"
#include "server/rpc/job_stream.h"
#include "server/rpc/status.h"

namespace convd {
namespace {

constexpr int kChecksAtOnce = 2;
constexpr int kChecksWaiting = 64;
// One commits while others read; more would wait for one another.
constexpr int kCallsAtOnce = 2;
constexpr int kCallsWaiting = 1024;

}  // namespace

JobsService::JobsService(JobRunner& runner, DatasetRegistry& datasets, ModelRepository& models,
                         const JobMemory& memory)
    : runner_(runner),
      datasets_(datasets),
      models_(models),
      memory_(memory),
      checks_(kChecksAtOnce, kChecksWaiting),
      calls_(kCallsAtOnce, kCallsWaiting) {}

grpc::ServerUnaryReactor* JobsService::Answer(grpc::CallbackServerContext* context,
                                              absl::AnyInvocable<absl::Status()> call) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  auto run = [context, reactor, call = std::move(call)]() mutable {
    const absl::Status waits = CallerStillWaits(*context);
    reactor->Finish(ToGrpcStatus(waits.ok() ? OrWhatItThrows("job", call) : waits));
  };
  if (!calls_.Start(std::move(run))) {
    reactor->Finish(ToGrpcStatus(absl::ResourceExhaustedError(
        absl::StrCat(kCallsWaiting, " calls wait for the job store; try again in a moment"))));
  }
  return reactor;
}

grpc::ServerUnaryReactor* JobsService::AnswerJob(
    grpc::CallbackServerContext* context, v1::Job* response,
    absl::AnyInvocable<absl::StatusOr<v1::Job>()> call) {
  return Answer(context, [response, call = std::move(call)]() mutable -> absl::Status {
    CONVD_ASSIGN_OR_RETURN(*response, call());
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* JobsService::Train(grpc::CallbackServerContext* context,
                                             const v1::TrainRequest* request, v1::Job* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  NoteTarget(context,
             absl::StrCat("model ", request->model(), ", dataset ", request->dataset().name()));
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  if (!checks_.Start([this, context, request, response, reactor] {
        const absl::Status status =
            OrWhatItThrows("job", [&] { return Queue(*context, *request, *response); });
        if (status.ok()) {
          NoteTarget(context, absl::StrCat("job ", response->id(), ", model ", request->model(),
                                           ", dataset ", request->dataset().name()));
        }
        reactor->Finish(ToGrpcStatus(status));
      })) {
    reactor->Finish(ToGrpcStatus(absl::ResourceExhaustedError(
        absl::StrCat(kChecksWaiting, " requests wait to be checked; try again in a moment"))));
  }
  return reactor;
}

absl::Status JobsService::Queue(const grpc::CallbackServerContext& context,
                                const v1::TrainRequest& request, v1::Job& response) {
  // Who has given up may ask again: a second job would be one too many.
  CONVD_RETURN_IF_ERROR(CallerStillWaits(context));
  CONVD_ASSIGN_OR_RETURN(std::optional<v1::Job> repeated,
                         runner_.FindSent(request.request_id(), SentSha256(request)));
  if (repeated.has_value()) {
    response = *std::move(repeated);
    return absl::OkStatus();
  }
  // What it names must not be deleted before it is accepted.
  absl::ReaderMutexLock datasets_in_use(&datasets_.in_use());
  absl::ReaderMutexLock models_in_use(&models_.in_use());
  absl::StatusOr<ResolvedJob> job = ResolveJob(request, datasets_, memory_, &models_);
  if (!job.ok()) {
    CONVD_RETURN_IF_ERROR(runner_.CheckUnsent(request.request_id()));
    return job.status();
  }
  CONVD_RETURN_IF_ERROR(CallerStillWaits(context));
  CONVD_ASSIGN_OR_RETURN(response, runner_.Submit(*std::move(job)));
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* JobsService::GetJob(grpc::CallbackServerContext* context,
                                              const v1::GetJobRequest* request, v1::Job* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  return AnswerJob(context, response, [this, request] { return runner_.Get(request->id()); });
}

grpc::ServerUnaryReactor* JobsService::ListJobs(grpc::CallbackServerContext* context,
                                                const v1::ListJobsRequest* request,
                                                v1::ListJobsResponse* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  return Answer(
      context, [this, request, response] { return convd::ListJobs(runner_, *request, *response); });
}

grpc::ServerWriteReactor<v1::JobEvent>* JobsService::WatchJob(grpc::CallbackServerContext* context,
                                                              const v1::WatchJobRequest* request) {
  if (const Refusal refusal(context); refusal) return refusal;
  return NewJobStream(runner_, request->id(), request->after_epoch());
}

grpc::ServerUnaryReactor* JobsService::CancelJob(grpc::CallbackServerContext* context,
                                                 const v1::CancelJobRequest* request,
                                                 v1::Job* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  NoteTarget(context, absl::StrCat("job ", request->id()));
  return AnswerJob(context, response, [this, request] { return runner_.Cancel(request->id()); });
}

grpc::ServerUnaryReactor* JobsService::PauseJob(grpc::CallbackServerContext* context,
                                                const v1::PauseJobRequest* request,
                                                v1::Job* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  NoteTarget(context, absl::StrCat("job ", request->id()));
  return AnswerJob(context, response, [this, request] { return runner_.Pause(request->id()); });
}

grpc::ServerUnaryReactor* JobsService::ResumeJob(grpc::CallbackServerContext* context,
                                                 const v1::ResumeJobRequest* request,
                                                 v1::Job* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  NoteTarget(context, absl::StrCat("job ", request->id()));
  return AnswerJob(context, response, [this, request] {
    return runner_.Resume(request->id(), request->allow_different_bits());
  });
}

grpc::ServerUnaryReactor* JobsService::UpdateJob(grpc::CallbackServerContext* context,
                                                 const v1::UpdateJobRequest* request,
                                                 v1::Job* response) {
  if (const Refusal refusal(context); refusal) return refusal;
  NoteTarget(context, absl::StrCat("job ", request->id()));
  return AnswerJob(context, response, [this, request] {
    return request->has_priority() ? runner_.SetPriority(request->id(), request->priority())
                                   : runner_.Get(request->id());
  });
}

}  // namespace convd
