#ifndef CONVD_SERVER_JOBS_JOB_LIST_H_
#define CONVD_SERVER_JOBS_JOB_LIST_H_

#include "absl/status/status.h"
#include "convd/v1/jobs.pb.h"
#include "server/jobs/runner.h"

namespace convd {

// What gRPC and HTTP both answer about jobs. A page ends at page_size jobs or about a megabyte. Its
// token names the last job shown, so jobs that come and go meanwhile make no other one appear twice
// or never. INVALID_ARGUMENT names the field. Waits for the disk; any thread that may do so.
absl::Status ListJobs(JobRunner& runner, const v1::ListJobsRequest& request,
                      v1::ListJobsResponse& response);

}  // namespace convd

#endif  // CONVD_SERVER_JOBS_JOB_LIST_H_
