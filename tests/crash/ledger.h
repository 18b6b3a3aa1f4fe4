#ifndef CONVD_TESTS_CRASH_LEDGER_H_
#define CONVD_TESTS_CRASH_LEDGER_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "convd/v1/jobs.pb.h"
#include "tests/crash/requests.h"

namespace convd {

// What clients were told, over all lives of the server, and whether each new answer agrees with it.
// What doesn't is a fault, in words. Any thread may call; a job is acted on by one at a time.
class Ledger {
 public:
  explicit Ledger(const std::vector<JobKind>& kinds) : kinds_(kinds) {}

  // What is asked of a job. kPriority may be repeated and is never undone by a crash.
  enum class Action { kPause, kResume, kCancel, kPriority };

  // A request that is about to be sent for the first time.
  void Sent(const std::string& request_id, size_t kind);
  // The job that it made, or had made.
  void Accepted(const std::string& request_id, const v1::Job& job, uint64_t asked_at);
  // Before an action is sent, and once it is answered. Unanswered ones may have happened or not.
  void Asked(const std::string& id, Action action, int32_t priority = 0);
  void Answered(const std::string& id, Action action, const absl::Status& status);

  // A moment. A job that was shown after it may be newer than an answer that was asked for at it.
  uint64_t Now();
  // An answer with the job; `whole`: with its history.
  void Shown(const v1::Job& job, bool whole, uint64_t asked_at);
  // A watch shows states of the past; only the last one counts, and it never changes any more.
  void Watched(const v1::JobEvent& event, const std::string& id);
  // A version in the server's list.
  void ShownVersion(const v1::ModelVersion& version, const std::string& job_id);

  void BeginLife();
  // The server was killed. `checkpoints`: for each job the newest that there is now.
  void Killed(const std::map<std::string, int64_t>& checkpoints);

  void Fault(const std::string& text);

  struct Version {
    std::string job_id;
    size_t kind = 0;
  };
  using VersionId = std::pair<std::string, int64_t>;
  std::map<VersionId, Version> versions();
  std::vector<std::string> live() { return Jobs(false); }
  std::vector<std::string> ended() { return Jobs(true); }
  std::map<std::string, size_t> unanswered();  // request ids, and their kinds
  v1::TrainRequest Request(const std::string& request_id);
  std::string ARequestId(const std::string& job_id);
  v1::JobState State(const std::string& id);  // as shown last
  bool Known(const std::string& id);
  size_t requests();  // sent so far
  size_t kinds() const { return kinds_.size(); }

  struct Totals {
    int64_t jobs = 0, succeeded = 0, cancelled = 0, given_up = 0, resumed = 0, epochs = 0;
  };
  Totals totals();
  std::vector<std::string> faults();

 private:
  enum class Wish { kNone, kPause, kCancel };
  struct KeptEpoch {
    v1::EpochRecord record;
    uint64_t shown_at = 0;
  };
  struct SentRequest {
    size_t kind = 0;
    int64_t life = 0;  // that it was sent in first
  };
  struct Entry {
    std::string id, request_id;
    size_t kind = 0;
    v1::TrainRequest request;  // resolved, as first shown
    v1::JobState state = v1::JOB_STATE_UNSPECIFIED;
    uint64_t ended_at = 0;         // 0: not yet
    std::optional<v1::Job> ended;  // whole, as first shown
    std::map<int64_t, KeptEpoch> epochs;
    Wish wish = Wish::kNone;  // acknowledged, and not taken back
    int64_t wish_life = 0;
    // Sent without an answer so far.
    bool maybe_paused = false, maybe_resumed = false, maybe_cancelled = false;
    std::optional<int32_t> maybe_priority;
    int64_t maybe_life = 0;
    int32_t priority = 0, attempts = 0;
    int64_t newest_checkpoint = 0, kills_since_checkpoint = 0;
  };

  std::vector<std::string> Jobs(bool ended) ABSL_LOCKS_EXCLUDED(mu_);
  void ShownLocked(const v1::Job& job, bool whole, uint64_t asked_at)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CheckEnded(Entry& entry, const v1::Job& job, bool whole, uint64_t asked_at)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether a job that hadn't ended may be in this state.
  void CheckState(Entry& entry, const v1::Job& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Of what was asked in an earlier life, the state now tells what happened.
  void SettleMaybes(Entry& entry, const v1::Job& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ShownEpoch(Entry& entry, const v1::EpochRecord& record) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AddVersion(const v1::ModelVersion& version, const std::string& job_id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void FaultLocked(const std::string& text) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::vector<JobKind>& kinds_;
  absl::Mutex mu_;
  uint64_t now_ ABSL_GUARDED_BY(mu_) = 1;
  int64_t life_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<std::string, size_t> unanswered_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, SentRequest> sent_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, std::string> job_of_request_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, Entry> jobs_ ABSL_GUARDED_BY(mu_);
  std::map<VersionId, Version> versions_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> faults_ ABSL_GUARDED_BY(mu_);
};

}  // namespace convd

#endif  // CONVD_TESTS_CRASH_LEDGER_H_
