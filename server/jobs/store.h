#ifndef CONVD_SERVER_JOBS_STORE_H_
#define CONVD_SERVER_JOBS_STORE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "convd/v1/jobs.pb.h"

namespace convd {

// How much of a job is read.
enum class JobParts {
  kWhole,
  kListed,  // without summary and history
};

// A change of state, with what comes with it.
struct JobChange {
  v1::JobState state = v1::JOB_STATE_UNSPECIFIED;
  absl::Time time;          // `started` or `ended`
  v1::Progress progress;    // where the run was, when it ended; all zero where it never ran
  v1::JobError error;       // FAILED
  v1::ModelVersion result;  // SUCCEEDED
};

// The job that a request made, and the `sent_sha256` that came with it.
struct SentRequest {
  std::string job_id;
  std::string sha256;
};

// What is kept of the jobs, and the only place that says what state a job is in: what was accepted
// here is what others may see. A store on disk has made a change durable when a call returns OK,
// and has changed nothing when it returns an error. Any thread may call.
class JobStore {
 public:
  virtual ~JobStore() = default;

  // Keeps a new job and gives it an id (see job_id.h). Its state is QUEUED, its `created` `now`.
  // `sent_sha256` is kept beside its request_id.
  virtual absl::StatusOr<v1::Job> Create(v1::Job job, absl::Time now,
                                         const std::string& sent_sha256) = 0;

  // FAILED_PRECONDITION where the job's state may not change like this; NOT_FOUND.
  virtual absl::Status Apply(const std::string& id, const JobChange& change) = 0;

  // Adds to a RUNNING job's history. FAILED_PRECONDITION in another state, or where the record
  // isn't of the epoch after the last one.
  virtual absl::Status AppendEpoch(const std::string& id, const v1::EpochRecord& record) = 0;

  // NOT_FOUND names the id. Progress of a running job and the place in the queue aren't kept here.
  virtual absl::StatusOr<v1::Job> Get(const std::string& id, JobParts parts) = 0;
  virtual absl::StatusOr<v1::JobState> State(const std::string& id) = 0;

  // The records after `after_epoch`, at most `limit` of them, in order.
  virtual absl::StatusOr<std::vector<v1::EpochRecord>> Epochs(const std::string& id,
                                                              int64_t after_epoch,
                                                              int64_t limit) = 0;

  // What came with this request_id; all "" where nothing did.
  virtual absl::StatusOr<SentRequest> FindRequest(const std::string& request_id) = 0;

  // Newest first, at most `limit` of those before `before_id` ("": all), as kListed.
  virtual absl::StatusOr<std::vector<v1::Job>> List(const std::string& before_id,
                                                    int64_t limit) = 0;
};

struct InMemoryJobStoreLimits {
  // Ended jobs beyond either are forgotten, the oldest first. Their models stay.
  int64_t max_ended = 10'000;
  int64_t max_ended_bytes = 256LL << 20;
};

// Lives as long as the process.
std::unique_ptr<JobStore> NewInMemoryJobStore(const InMemoryJobStoreLimits& limits = {});

}  // namespace convd

#endif  // CONVD_SERVER_JOBS_STORE_H_
