#include "server/jobs/job_list.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "core/status/status_macros.h"
#include "server/jobs/job_id.h"
#include "server/page.h"

namespace convd {
namespace {

absl::StatusOr<std::string> ParsePageToken(const std::string& token) {
  std::string id;
  if (token.size() <= 64 && absl::WebSafeBase64Unescape(token, &id) && CheckJobId(id).ok()) {
    return id;
  }
  return UnknownPageToken();
}

}  // namespace

absl::Status ListJobs(JobRunner& runner, const v1::ListJobsRequest& request,
                      v1::ListJobsResponse& response) {
  CONVD_ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size()));
  std::string before;
  if (!request.page_token().empty()) {
    CONVD_ASSIGN_OR_RETURN(before, ParsePageToken(request.page_token()));
  }
  // One more than the page holds, to know whether another follows.
  CONVD_ASSIGN_OR_RETURN(std::vector<v1::Job> jobs, runner.List(before, page_size + 1));
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

}  // namespace convd
