#include <algorithm>
#include <deque>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/status/status_macros.h"
#include "server/jobs/job_id.h"
#include "server/jobs/store.h"
#include "server/jobs/transitions.h"

namespace convd {
namespace {

void SetTime(absl::Time time, google::protobuf::Timestamp& field) {
  const timespec t = absl::ToTimespec(time);
  field.set_seconds(t.tv_sec);
  field.set_nanos(static_cast<int32_t>(t.tv_nsec));
}

class InMemoryJobStore final : public JobStore {
 public:
  explicit InMemoryJobStore(const InMemoryJobStoreLimits& limits) : limits_(limits) {}

  absl::StatusOr<v1::Job> Create(v1::Job job, absl::Time now,
                                 const std::string& sent_sha256) override {
    absl::MutexLock lock(&mu_);
    job.set_id(NextJobId(now, last_id_));
    job.set_state(v1::JOB_STATE_QUEUED);
    SetTime(now, *job.mutable_created());
    last_id_ = job.id();
    jobs_.emplace(job.id(), job);
    if (!job.request().request_id().empty())
      requests_[job.request().request_id()] = {job.id(), sent_sha256};
    return job;
  }

  absl::Status Apply(const std::string& id, const JobChange& change) override {
    absl::MutexLock lock(&mu_);
    CONVD_ASSIGN_OR_RETURN(v1::Job* const job, Find(id));
    CONVD_RETURN_IF_ERROR(CheckTransition(job->state(), change.state));
    job->set_state(change.state);
    SetTime(change.time, IsFinal(change.state) ? *job->mutable_ended() : *job->mutable_started());
    if (change.progress.epochs() > 0) *job->mutable_progress() = change.progress;
    if (change.state == v1::JOB_STATE_FAILED) *job->mutable_error() = change.error;
    if (change.state == v1::JOB_STATE_SUCCEEDED) *job->mutable_result() = change.result;
    if (IsFinal(change.state)) {
      const int64_t bytes = static_cast<int64_t>(job->ByteSizeLong());
      ended_.push_back({id, bytes});
      ended_bytes_ += bytes;
      ForgetOldest();
    }
    return absl::OkStatus();
  }

  absl::Status AppendEpoch(const std::string& id, const v1::EpochRecord& record) override {
    absl::MutexLock lock(&mu_);
    CONVD_ASSIGN_OR_RETURN(v1::Job* const job, Find(id));
    if (job->state() != v1::JOB_STATE_RUNNING || record.epoch() != job->history_size() + 1) {
      return absl::FailedPreconditionError(
          absl::StrCat("job \"", id, "\": got the record of epoch ", record.epoch(),
                       "; want a running job, and the record of epoch ", job->history_size() + 1));
    }
    *job->add_history() = record;
    return absl::OkStatus();
  }

  absl::StatusOr<v1::Job> Get(const std::string& id, JobParts parts) override {
    absl::MutexLock lock(&mu_);
    CONVD_ASSIGN_OR_RETURN(const v1::Job* const job, Find(id));
    return parts == JobParts::kWhole ? *job : Listed(*job);
  }

  absl::StatusOr<v1::JobState> State(const std::string& id) override {
    absl::MutexLock lock(&mu_);
    CONVD_ASSIGN_OR_RETURN(const v1::Job* const job, Find(id));
    return job->state();
  }

  absl::StatusOr<std::vector<v1::EpochRecord>> Epochs(const std::string& id, int64_t after_epoch,
                                                      int64_t limit) override {
    absl::MutexLock lock(&mu_);
    CONVD_ASSIGN_OR_RETURN(const v1::Job* const job, Find(id));
    std::vector<v1::EpochRecord> records;
    // Record i is of epoch i + 1.
    for (int64_t i = std::max<int64_t>(0, after_epoch);
         i < job->history_size() && static_cast<int64_t>(records.size()) < limit; ++i) {
      records.push_back(job->history(static_cast<int>(i)));
    }
    return records;
  }

  absl::StatusOr<SentRequest> FindRequest(const std::string& request_id) override {
    absl::MutexLock lock(&mu_);
    const auto it = requests_.find(request_id);
    return it == requests_.end() ? SentRequest() : it->second;
  }

  absl::StatusOr<std::vector<v1::Job>> List(const std::string& before_id, int64_t limit) override {
    absl::MutexLock lock(&mu_);
    std::vector<v1::Job> page;
    auto next = before_id.empty() ? jobs_.end() : jobs_.lower_bound(before_id);
    while (next != jobs_.begin() && static_cast<int64_t>(page.size()) < limit) {
      --next;
      page.push_back(Listed(next->second));
    }
    return page;
  }

 private:
  absl::StatusOr<v1::Job*> Find(const std::string& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    CONVD_RETURN_IF_ERROR(CheckJobId(id));
    const auto it = jobs_.find(id);
    if (it != jobs_.end()) return &it->second;
    return absl::NotFoundError(absl::StrCat("id: no job \"", id, "\""));
  }

  static v1::Job Listed(const v1::Job& job) {
    v1::Job listed;
    listed.set_id(job.id());
    listed.set_state(job.state());
    *listed.mutable_request() = job.request();
    *listed.mutable_created() = job.created();
    if (job.has_started()) *listed.mutable_started() = job.started();
    if (job.has_ended()) *listed.mutable_ended() = job.ended();
    if (job.has_progress()) *listed.mutable_progress() = job.progress();
    if (job.has_result()) *listed.mutable_result() = job.result();
    if (job.has_error()) *listed.mutable_error() = job.error();
    *listed.mutable_warnings() = job.warnings();
    return listed;
  }

  void ForgetOldest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    // The newest stays, however large: whoever watches it may still read how it ended.
    while (ended_.size() > 1 && (static_cast<int64_t>(ended_.size()) > limits_.max_ended ||
                                 ended_bytes_ > limits_.max_ended_bytes)) {
      ended_bytes_ -= ended_.front().bytes;
      const auto oldest = jobs_.find(ended_.front().id);
      requests_.erase(oldest->second.request().request_id());
      jobs_.erase(oldest);
      ended_.pop_front();
    }
  }

  struct Ended {
    std::string id;
    int64_t bytes;
  };

  const InMemoryJobStoreLimits limits_;

  absl::Mutex mu_;
  std::map<std::string, v1::Job> jobs_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, SentRequest> requests_ ABSL_GUARDED_BY(mu_);  // by request_id
  std::deque<Ended> ended_ ABSL_GUARDED_BY(mu_);  // in the order in which they ended
  int64_t ended_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  std::string last_id_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

std::unique_ptr<JobStore> NewInMemoryJobStore(const InMemoryJobStoreLimits& limits) {
  return std::make_unique<InMemoryJobStore>(limits);
}

}  // namespace convd
