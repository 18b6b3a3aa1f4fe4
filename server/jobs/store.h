#ifndef CONVD_SERVER_JOBS_STORE_H_
#define CONVD_SERVER_JOBS_STORE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "convd/v1/jobs.pb.h"
#include "core/storage/file_system.h"

namespace convd {

// How much of a job is read.
enum class JobParts {
  kWhole,
  kListed,  // without summary and history
};

// A change of state, with what comes with it.
struct JobChange {
  v1::JobState state = v1::JOB_STATE_UNSPECIFIED;
  absl::Time time;          // `started` of the first RUNNING; `ended`
  v1::Progress progress;    // where the run was, when it ended; all zero where it never ran
  v1::JobError error;       // FAILED, and PAUSED by the server
  v1::ModelVersion result;  // SUCCEEDED
  // Attempts in a row that ended with the server, the one that begins now taken for such until it
  // ends in order; unset: as it was.
  std::optional<int32_t> crashes;
};

// A job with what isn't for clients.
struct JobRecord {
  v1::Job job;
  std::string sent_sha256;  // SentSha256 of its request
  // Of the datasets that its names stood for at submission; "" where it validates on none.
  std::string data_sha256, validation_sha256;
  int32_t crashes = 0;
};

// The job that a request made, and the `sent_sha256` that came with it.
struct SentRequest {
  std::string job_id;
  std::string sha256;
};

// What the queue is made of.
struct LiveJob {
  std::string id;
  v1::JobState state = v1::JOB_STATE_UNSPECIFIED;
  absl::Time created;
  int32_t priority = 0;
  bool started = false;  // it ran before
  // PAUSED or CANCELLED where somebody has asked for that and a RUNNING job has not come to it.
  v1::JobState wished = v1::JOB_STATE_UNSPECIFIED;
  std::string train_dataset, validation_dataset;  // names; "" for none
  v1::ModelVersion initial_model;                 // no name where it begins with new weights
  // That training it takes on this server, which the store doesn't know.
  std::optional<int64_t> memory_bytes = std::nullopt;
};

// Of a job as the store gives it; what it was asked for isn't known from that.
LiveJob LiveJobOf(const v1::Job& job);

// What is kept of the jobs, and the only place that says what state a job is in: what was accepted
// here is what others may see. A change is on disk when a call returns OK. A call that returns an
// error has changed nothing that is seen before a restart; where the disk failed while it
// committed, the change may be there after one. Any thread may call.
class JobStore {
 public:
  virtual ~JobStore() = default;

  // Keeps a new job and gives it an id (see job_id.h). Its state is QUEUED, its `created` `now`,
  // its priority the request's.
  virtual absl::StatusOr<v1::Job> Create(JobRecord record, absl::Time now) = 0;

  // Before a state is confirmed that nothing had to be changed for: OK where no earlier change that
  // failed can undo it at a restart.
  virtual absl::Status Settle() = 0;

  // FAILED_PRECONDITION where the job's state may not change like this; NOT_FOUND.
  virtual absl::Status Apply(const std::string& id, const JobChange& change) = 0;
  // What a RUNNING job was asked to become; forgotten with its next change of state.
  virtual absl::Status SetWish(const std::string& id, v1::JobState wished) = 0;
  virtual absl::Status SetPriority(const std::string& id, int32_t priority) = 0;
  virtual absl::Status AllowDifferentBits(const std::string& id) = 0;  // in its request

  // Adds to a RUNNING job's history, or replaces a record: after a restart epochs since the last
  // checkpoint run again, to the same figures but those of time. FAILED_PRECONDITION in another
  // state, or where the epochs before are missing.
  virtual absl::Status PutEpoch(const std::string& id, const v1::EpochRecord& record) = 0;

  // NOT_FOUND names the id. Progress of a running job and the place in the queue aren't kept here.
  virtual absl::StatusOr<v1::Job> Get(const std::string& id, JobParts parts) = 0;
  virtual absl::StatusOr<v1::JobState> State(const std::string& id) = 0;
  virtual absl::StatusOr<JobRecord> GetRecord(const std::string& id) = 0;  // kListed

  // The records after `after_epoch`, at most `limit` of them, in order.
  virtual absl::StatusOr<std::vector<v1::EpochRecord>> Epochs(const std::string& id,
                                                              int64_t after_epoch,
                                                              int64_t limit) = 0;

  // What came with this request_id; all "" where nothing did.
  virtual absl::StatusOr<SentRequest> FindRequest(const std::string& request_id) = 0;

  // Newest first, at most `limit` of those before `before_id` ("": all), as kListed.
  virtual absl::StatusOr<std::vector<v1::Job>> List(const std::string& before_id,
                                                    int64_t limit) = 0;

  // All that haven't ended, in the order of submission.
  virtual absl::StatusOr<std::vector<LiveJob>> Live() = 0;
};

// In the database file convd.db in `folder`, which is made where there is none. `vfs` names the
// sqlite3_vfs of the disk that `fs` is; null is the machine's. Errors as SqliteDatabase's.
absl::StatusOr<std::unique_ptr<JobStore>> OpenSqliteJobStore(FileSystem& fs,
                                                             const std::string& folder,
                                                             const char* vfs = nullptr);
// As long as the process lives.
absl::StatusOr<std::unique_ptr<JobStore>> NewInMemoryJobStore();

}  // namespace convd

#endif  // CONVD_SERVER_JOBS_STORE_H_
