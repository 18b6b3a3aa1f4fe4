#include "server/rpc/jobs_service.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"
#include "server/jobs/job_id.h"
#include "server/rpc/caller.h"
#include "server/rpc/job_stream.h"
#include "server/rpc/page.h"
#include "server/rpc/status.h"

namespace convd {
namespace {

constexpr int kChecksAtOnce = 2;
constexpr int kChecksWaiting = 64;

absl::StatusOr<std::string> ParsePageToken(const std::string& token) {
  std::string id;
  if (token.size() <= 64 && absl::WebSafeBase64Unescape(token, &id) && CheckJobId(id).ok()) {
    return id;
  }
  return UnknownPageToken();
}

// Answers a unary call with a job, or with why there is none.
grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, absl::StatusOr<v1::Job> job,
                                 v1::Job* response) {
  if (job.ok()) *response = *std::move(job);
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(job.status()));
  return reactor;
}

}  // namespace

JobsService::JobsService(JobRunner& runner, DatasetRegistry& datasets, const JobMemory& memory)
    : runner_(runner),
      datasets_(datasets),
      memory_(memory),
      checks_(kChecksAtOnce, kChecksWaiting) {}

grpc::ServerUnaryReactor* JobsService::Train(grpc::CallbackServerContext* context,
                                             const v1::TrainRequest* request, v1::Job* response) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  if (!checks_.Start([this, context, request, response, reactor] {
        reactor->Finish(ToGrpcStatus(Queue(*context, *request, *response)));
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
  CONVD_ASSIGN_OR_RETURN(ResolvedJob job, ResolveJob(request, datasets_, memory_));
  CONVD_RETURN_IF_ERROR(CallerStillWaits(context));
  CONVD_ASSIGN_OR_RETURN(response, runner_.Submit(std::move(job)));
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* JobsService::GetJob(grpc::CallbackServerContext* context,
                                              const v1::GetJobRequest* request, v1::Job* response) {
  return Answer(context, runner_.Get(request->id()), response);
}

absl::Status JobsService::List(const v1::ListJobsRequest& request, v1::ListJobsResponse& response) {
  CONVD_ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size()));
  std::string before;
  if (!request.page_token().empty()) {
    CONVD_ASSIGN_OR_RETURN(before, ParsePageToken(request.page_token()));
  }
  // One more than the page holds, to know whether another follows.
  CONVD_ASSIGN_OR_RETURN(std::vector<v1::Job> jobs, runner_.List(before, page_size + 1));
  size_t bytes = 0;
  for (v1::Job& job : jobs) {
    bytes += job.ByteSizeLong();
    const bool full =
        response.jobs_size() == page_size || (bytes > kPageBytes && response.jobs_size() > 0);
    if (full) {
      const std::string& last = response.jobs(response.jobs_size() - 1).id();
      response.set_next_page_token(absl::WebSafeBase64Escape(last));
      break;
    }
    *response.add_jobs() = std::move(job);
  }
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* JobsService::ListJobs(grpc::CallbackServerContext* context,
                                                const v1::ListJobsRequest* request,
                                                v1::ListJobsResponse* response) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(List(*request, *response)));
  return reactor;
}

grpc::ServerWriteReactor<v1::JobEvent>* JobsService::WatchJob(grpc::CallbackServerContext*,
                                                              const v1::WatchJobRequest* request) {
  return NewJobStream(runner_, request->id(), request->after_epoch());
}

grpc::ServerUnaryReactor* JobsService::CancelJob(grpc::CallbackServerContext* context,
                                                 const v1::CancelJobRequest* request,
                                                 v1::Job* response) {
  return Answer(context, runner_.Cancel(request->id()), response);
}

}  // namespace convd
