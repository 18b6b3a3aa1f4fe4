#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/status/status_macros.h"
#include "server/jobs/job_id.h"
#include "server/jobs/store.h"
#include "server/jobs/transitions.h"
#include "server/sqlite/database.h"

namespace convd {
namespace {

constexpr int32_t kApplicationId = 0x636f6e76;  // "conv"

// Messages are kept as protobuf's bytes, so that a new field needs no new schema; what is searched
// or sorted by has a column. Times are nanoseconds since 1970.
constexpr const char* kMigrations[] = {
    R"sql(
CREATE TABLE job (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  state INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  crashes INTEGER NOT NULL DEFAULT 0,
  wished INTEGER NOT NULL DEFAULT 0,
  request_id TEXT UNIQUE,
  sent_sha256 TEXT NOT NULL,
  data_sha256 TEXT NOT NULL,
  validation_sha256 TEXT NOT NULL,
  created INTEGER NOT NULL,
  started INTEGER,
  ended INTEGER,
  request BLOB NOT NULL,   -- convd.v1.TrainRequest
  warnings BLOB NOT NULL,  -- convd.v1.Job with nothing else
  outcome BLOB NOT NULL,   -- convd.v1.Job with progress, error and result
  summary TEXT NOT NULL
) STRICT;
CREATE INDEX job_live ON job (state) WHERE state IN (1, 2, 6);
CREATE TABLE epoch (
  job INTEGER NOT NULL REFERENCES job (number),
  epoch INTEGER NOT NULL,
  record BLOB NOT NULL,  -- convd.v1.EpochRecord
  PRIMARY KEY (job, epoch)
) STRICT, WITHOUT ROWID;
)sql"};
static_assert(v1::JOB_STATE_QUEUED == 1 && v1::JOB_STATE_RUNNING == 2 && v1::JOB_STATE_PAUSED == 6);

constexpr char kColumns[] =
    "SELECT id, state, priority, attempts, created, started, ended, request, warnings, outcome, "
    "summary, number, sent_sha256, data_sha256, validation_sha256, crashes, wished "
    "FROM job ";
enum Column {
  kId,
  kState,
  kPriority,
  kAttempts,
  kCreated,
  kStarted,
  kEnded,
  kRequest,
  kWarnings,
  kOutcome,
  kSummary,
  kNumber,
  kSentSha256,
  kDataSha256,
  kValidationSha256,
  kCrashes,
  kWished,
};

void SetTime(int64_t nanoseconds, google::protobuf::Timestamp& field) {
  const timespec t = absl::ToTimespec(absl::FromUnixNanos(nanoseconds));
  field.set_seconds(t.tv_sec);
  field.set_nanos(static_cast<int32_t>(t.tv_nsec));
}

absl::Status Parse(std::string_view bytes, const std::string& id, const char* what,
                   google::protobuf::Message& message) {
  if (message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("job \"", id, "\": its ", what,
                                          " in the database can't be read as a ",
                                          message.GetTypeName()));
}

absl::Status NoJob(const std::string& id) {
  return absl::NotFoundError(absl::StrCat("id: no job \"", id, "\""));
}

std::string Warnings(const v1::Job& job) {
  v1::Job only;
  *only.mutable_warnings() = job.warnings();
  return only.SerializeAsString();
}

std::string Outcome(const v1::Job& job) {
  v1::Job only;
  if (job.has_progress()) *only.mutable_progress() = job.progress();
  if (job.has_error()) *only.mutable_error() = job.error();
  if (job.has_result()) *only.mutable_result() = job.result();
  return only.SerializeAsString();
}

class SqliteJobStore final : public JobStore {
 public:
  explicit SqliteJobStore(std::unique_ptr<SqliteDatabase> database)
      : database_(std::move(database)) {}

  absl::Status Prepare();

  absl::StatusOr<v1::Job> Create(JobRecord record, absl::Time now) override;
  absl::Status Settle() override;
  absl::Status Apply(const std::string& id, const JobChange& change) override;
  absl::Status SetWish(const std::string& id, v1::JobState wished) override;
  absl::Status SetPriority(const std::string& id, int32_t priority) override;
  absl::Status AllowDifferentBits(const std::string& id) override;
  absl::Status PutEpoch(const std::string& id, const v1::EpochRecord& record) override;
  absl::StatusOr<v1::Job> Get(const std::string& id, JobParts parts) override;
  absl::StatusOr<v1::JobState> State(const std::string& id) override;
  absl::StatusOr<JobRecord> GetRecord(const std::string& id) override;
  absl::StatusOr<std::vector<v1::EpochRecord>> Epochs(const std::string& id, int64_t after_epoch,
                                                      int64_t limit) override;
  absl::StatusOr<SentRequest> FindRequest(const std::string& request_id) override;
  absl::StatusOr<std::vector<v1::Job>> List(const std::string& before_id, int64_t limit) override;
  absl::StatusOr<std::vector<LiveJob>> Live() override;

 private:
  // Notes what became of a change. That one is OK settles nothing: where it changes no byte SQLite
  // writes none.
  absl::Status Written(absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    unsettled_ = unsettled_ || !status.ok();
    return status;
  }
  // What is there of every job, without reading what it was asked for.
  struct Place {
    int64_t number = 0;
    v1::JobState state = v1::JOB_STATE_UNSPECIFIED;
  };
  absl::StatusOr<Place> FindPlace(const std::string& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What a row of kColumns holds.
  struct Row {
    int64_t number = 0;
    JobRecord record;
  };
  static absl::StatusOr<Row> Read(const SqliteStatement& row, JobParts parts);
  absl::StatusOr<Row> Find(const std::string& id, JobParts parts)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<std::vector<v1::EpochRecord>> ReadEpochs(const std::string& id, int64_t number,
                                                          int64_t after, int64_t limit)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  absl::Mutex mu_;
  const std::unique_ptr<SqliteDatabase> database_ ABSL_PT_GUARDED_BY(mu_);
  // A change failed, and may be found in the log after a restart all the same.
  bool unsettled_ ABSL_GUARDED_BY(mu_) = false;
  SqliteStatement insert_ ABSL_GUARDED_BY(mu_);
  SqliteStatement last_ ABSL_GUARDED_BY(mu_);
  SqliteStatement find_ ABSL_GUARDED_BY(mu_);
  SqliteStatement place_ ABSL_GUARDED_BY(mu_);
  SqliteStatement change_ ABSL_GUARDED_BY(mu_);
  SqliteStatement set_wish_ ABSL_GUARDED_BY(mu_);
  SqliteStatement set_priority_ ABSL_GUARDED_BY(mu_);
  SqliteStatement set_request_ ABSL_GUARDED_BY(mu_);
  SqliteStatement last_epoch_ ABSL_GUARDED_BY(mu_);
  SqliteStatement put_epoch_ ABSL_GUARDED_BY(mu_);
  SqliteStatement epochs_ ABSL_GUARDED_BY(mu_);
  SqliteStatement request_ ABSL_GUARDED_BY(mu_);
  SqliteStatement page_ ABSL_GUARDED_BY(mu_);
  SqliteStatement live_ ABSL_GUARDED_BY(mu_);
};

absl::Status SqliteJobStore::Prepare() {
  absl::MutexLock lock(&mu_);
  const auto prepare = [&](const std::string& sql, SqliteStatement& statement)
                           ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) -> absl::Status {
    CONVD_ASSIGN_OR_RETURN(statement, database_->Prepare(sql));
    return absl::OkStatus();
  };
  const std::string select = kColumns;
  CONVD_RETURN_IF_ERROR(
      prepare("INSERT INTO job (id, state, priority, request_id, sent_sha256, data_sha256, "
              "validation_sha256, created, request, warnings, outcome, summary) "
              "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
              insert_));
  CONVD_RETURN_IF_ERROR(prepare("SELECT id FROM job ORDER BY id DESC LIMIT 1", last_));
  CONVD_RETURN_IF_ERROR(prepare(select + "WHERE id = ?", find_));
  CONVD_RETURN_IF_ERROR(prepare("SELECT number, state FROM job WHERE id = ?", place_));
  CONVD_RETURN_IF_ERROR(
      prepare("UPDATE job SET state = ?, attempts = ?, crashes = ?, started = ?, ended = ?, "
              "outcome = ?, wished = 0 WHERE number = ?",
              change_));
  CONVD_RETURN_IF_ERROR(prepare("UPDATE job SET wished = ? WHERE number = ?", set_wish_));
  CONVD_RETURN_IF_ERROR(prepare("UPDATE job SET priority = ? WHERE number = ?", set_priority_));
  CONVD_RETURN_IF_ERROR(prepare("UPDATE job SET request = ? WHERE number = ?", set_request_));
  CONVD_RETURN_IF_ERROR(
      prepare("SELECT coalesce(max(epoch), 0) FROM epoch WHERE job = ?", last_epoch_));
  CONVD_RETURN_IF_ERROR(
      prepare("INSERT OR REPLACE INTO epoch (job, epoch, record) VALUES (?, ?, ?)", put_epoch_));
  CONVD_RETURN_IF_ERROR(prepare(
      "SELECT record FROM epoch WHERE job = ? AND epoch > ? ORDER BY epoch LIMIT ?", epochs_));
  CONVD_RETURN_IF_ERROR(prepare("SELECT id, sent_sha256 FROM job WHERE request_id = ?", request_));
  CONVD_RETURN_IF_ERROR(prepare(select + "WHERE id < ? ORDER BY id DESC LIMIT ?", page_));
  return prepare(select + "WHERE state IN (1, 2, 6) ORDER BY id", live_);
}

absl::StatusOr<SqliteJobStore::Row> SqliteJobStore::Read(const SqliteStatement& row,
                                                         JobParts parts) {
  Row read;
  v1::Job& job = read.record.job;
  const std::string id(row.BytesAt(kId));
  CONVD_RETURN_IF_ERROR(Parse(row.BytesAt(kOutcome), id, "outcome", job));
  v1::Job warnings;
  CONVD_RETURN_IF_ERROR(Parse(row.BytesAt(kWarnings), id, "warnings", warnings));
  *job.mutable_warnings() = std::move(*warnings.mutable_warnings());
  CONVD_RETURN_IF_ERROR(Parse(row.BytesAt(kRequest), id, "request", *job.mutable_request()));
  job.set_id(id);
  job.set_state(static_cast<v1::JobState>(row.IntAt(kState)));
  job.set_priority(static_cast<int32_t>(row.IntAt(kPriority)));
  job.set_attempts(static_cast<int32_t>(row.IntAt(kAttempts)));
  SetTime(row.IntAt(kCreated), *job.mutable_created());
  if (!row.IsNullAt(kStarted)) SetTime(row.IntAt(kStarted), *job.mutable_started());
  if (!row.IsNullAt(kEnded)) SetTime(row.IntAt(kEnded), *job.mutable_ended());
  if (parts == JobParts::kWhole) job.set_summary(std::string(row.BytesAt(kSummary)));
  read.number = row.IntAt(kNumber);
  read.record.sent_sha256 = std::string(row.BytesAt(kSentSha256));
  read.record.data_sha256 = std::string(row.BytesAt(kDataSha256));
  read.record.validation_sha256 = std::string(row.BytesAt(kValidationSha256));
  read.record.crashes = static_cast<int32_t>(row.IntAt(kCrashes));
  return read;
}

absl::StatusOr<SqliteJobStore::Place> SqliteJobStore::FindPlace(const std::string& id) {
  CONVD_RETURN_IF_ERROR(CheckJobId(id));
  CONVD_ASSIGN_OR_RETURN(const bool found, place_.Text(id).Step());
  if (!found) return NoJob(id);
  const Place place{place_.IntAt(0), static_cast<v1::JobState>(place_.IntAt(1))};
  place_.Reset();
  return place;
}

absl::StatusOr<SqliteJobStore::Row> SqliteJobStore::Find(const std::string& id, JobParts parts) {
  CONVD_RETURN_IF_ERROR(CheckJobId(id));
  CONVD_ASSIGN_OR_RETURN(const bool found, find_.Text(id).Step());
  if (!found) return NoJob(id);
  absl::StatusOr<Row> row = Read(find_, parts);
  find_.Reset();
  return row;
}

absl::StatusOr<v1::Job> SqliteJobStore::Create(JobRecord record, absl::Time now) {
  v1::Job& job = record.job;
  absl::MutexLock lock(&mu_);
  CONVD_ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(*database_));
  CONVD_ASSIGN_OR_RETURN(const bool any, last_.Step());
  job.set_id(NextJobId(now, any ? last_.BytesAt(0) : ""));
  last_.Reset();
  job.set_state(v1::JOB_STATE_QUEUED);
  job.set_priority(job.request().priority());
  SetTime(absl::ToUnixNanos(now), *job.mutable_created());
  insert_.Text(job.id()).Int(job.state()).Int(job.priority());
  if (job.request().request_id().empty()) {
    insert_.Null();
  } else {
    insert_.Text(job.request().request_id());
  }
  CONVD_RETURN_IF_ERROR(insert_.Text(record.sent_sha256)
                            .Text(record.data_sha256)
                            .Text(record.validation_sha256)
                            .Int(absl::ToUnixNanos(now))
                            .Blob(job.request().SerializeAsString())
                            .Blob(Warnings(job))
                            .Blob(Outcome(job))
                            .Text(job.summary())
                            .Run());
  CONVD_RETURN_IF_ERROR(Written(transaction.Commit()));
  return job;
}

absl::Status SqliteJobStore::Settle() {
  absl::MutexLock lock(&mu_);
  if (!unsettled_) return absl::OkStatus();
  CONVD_RETURN_IF_ERROR(database_->CommitNothing());
  unsettled_ = false;
  return absl::OkStatus();
}

absl::Status SqliteJobStore::Apply(const std::string& id, const JobChange& change) {
  absl::MutexLock lock(&mu_);
  CONVD_ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(*database_));
  CONVD_ASSIGN_OR_RETURN(Row row, Find(id, JobParts::kListed));
  v1::Job& job = row.record.job;
  CONVD_RETURN_IF_ERROR(CheckTransition(job.state(), change.state));
  if (change.progress.epochs() > 0) *job.mutable_progress() = change.progress;
  job.clear_error();
  const bool told = change.state == v1::JOB_STATE_FAILED || change.state == v1::JOB_STATE_PAUSED;
  if (told && change.error.code() != 0) {
    *job.mutable_error() = change.error;
  }
  if (change.state == v1::JOB_STATE_SUCCEEDED) *job.mutable_result() = change.result;
  const bool begins = change.state == v1::JOB_STATE_RUNNING;
  if (begins && !job.has_started()) SetTime(absl::ToUnixNanos(change.time), *job.mutable_started());
  if (IsFinal(change.state)) SetTime(absl::ToUnixNanos(change.time), *job.mutable_ended());
  const auto bind_time = [&](bool set, const google::protobuf::Timestamp& time)
                             ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
                               if (!set) {
                                 change_.Null();
                               } else {
                                 change_.Int(time.seconds() * 1'000'000'000 + time.nanos());
                               }
                             };
  change_.Int(change.state)
      .Int(job.attempts() + (begins ? 1 : 0))
      .Int(change.crashes.value_or(row.record.crashes));
  bind_time(job.has_started(), job.started());
  bind_time(job.has_ended(), job.ended());
  CONVD_RETURN_IF_ERROR(change_.Blob(Outcome(job)).Int(row.number).Run());
  return Written(transaction.Commit());
}

absl::Status SqliteJobStore::SetWish(const std::string& id, v1::JobState wished) {
  absl::MutexLock lock(&mu_);
  CONVD_ASSIGN_OR_RETURN(const Place place, FindPlace(id));
  return Written(set_wish_.Int(wished).Int(place.number).Run());
}

absl::Status SqliteJobStore::SetPriority(const std::string& id, int32_t priority) {
  absl::MutexLock lock(&mu_);
  CONVD_ASSIGN_OR_RETURN(const Place place, FindPlace(id));
  return Written(set_priority_.Int(priority).Int(place.number).Run());
}

absl::Status SqliteJobStore::AllowDifferentBits(const std::string& id) {
  absl::MutexLock lock(&mu_);
  CONVD_ASSIGN_OR_RETURN(Row row, Find(id, JobParts::kListed));
  row.record.job.mutable_request()->set_allow_different_bits(true);
  return Written(
      set_request_.Blob(row.record.job.request().SerializeAsString()).Int(row.number).Run());
}

absl::Status SqliteJobStore::PutEpoch(const std::string& id, const v1::EpochRecord& record) {
  absl::MutexLock lock(&mu_);
  CONVD_ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(*database_));
  CONVD_ASSIGN_OR_RETURN(const Place place, FindPlace(id));
  CONVD_ASSIGN_OR_RETURN(const bool any, last_epoch_.Int(place.number).Step());
  const int64_t last = any ? last_epoch_.IntAt(0) : 0;
  last_epoch_.Reset();
  if (place.state != v1::JOB_STATE_RUNNING || record.epoch() < 1 || record.epoch() > last + 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("job \"", id, "\": got the record of epoch ", record.epoch(),
                     "; want a running job, and a record of epoch 1 to ", last + 1));
  }
  CONVD_RETURN_IF_ERROR(
      put_epoch_.Int(place.number).Int(record.epoch()).Blob(record.SerializeAsString()).Run());
  return Written(transaction.Commit());
}

absl::StatusOr<std::vector<v1::EpochRecord>> SqliteJobStore::ReadEpochs(const std::string& id,
                                                                        int64_t number,
                                                                        int64_t after,
                                                                        int64_t limit) {
  std::vector<v1::EpochRecord> records;
  epochs_.Int(number).Int(after).Int(limit);
  for (;;) {
    CONVD_ASSIGN_OR_RETURN(const bool row, epochs_.Step());
    if (!row) return records;
    const absl::Status parsed = Parse(epochs_.BytesAt(0), id, "history", records.emplace_back());
    if (parsed.ok()) continue;
    epochs_.Reset();
    return parsed;
  }
}

absl::StatusOr<v1::Job> SqliteJobStore::Get(const std::string& id, JobParts parts) {
  absl::MutexLock lock(&mu_);
  CONVD_ASSIGN_OR_RETURN(Row row, Find(id, parts));
  v1::Job& job = row.record.job;
  if (parts == JobParts::kWhole) {
    CONVD_ASSIGN_OR_RETURN(std::vector<v1::EpochRecord> records, ReadEpochs(id, row.number, 0, -1));
    job.mutable_history()->Add(std::make_move_iterator(records.begin()),
                               std::make_move_iterator(records.end()));
  }
  return std::move(job);
}

absl::StatusOr<v1::JobState> SqliteJobStore::State(const std::string& id) {
  absl::MutexLock lock(&mu_);
  CONVD_ASSIGN_OR_RETURN(const Place place, FindPlace(id));
  return place.state;
}

absl::StatusOr<JobRecord> SqliteJobStore::GetRecord(const std::string& id) {
  absl::MutexLock lock(&mu_);
  CONVD_ASSIGN_OR_RETURN(Row row, Find(id, JobParts::kListed));
  return std::move(row.record);
}

absl::StatusOr<std::vector<v1::EpochRecord>> SqliteJobStore::Epochs(const std::string& id,
                                                                    int64_t after_epoch,
                                                                    int64_t limit) {
  absl::MutexLock lock(&mu_);
  CONVD_ASSIGN_OR_RETURN(const Place place, FindPlace(id));
  return ReadEpochs(id, place.number, after_epoch, limit);
}

absl::StatusOr<SentRequest> SqliteJobStore::FindRequest(const std::string& request_id) {
  absl::MutexLock lock(&mu_);
  CONVD_ASSIGN_OR_RETURN(const bool found, request_.Text(request_id).Step());
  if (!found) return SentRequest();
  SentRequest sent{std::string(request_.BytesAt(0)), std::string(request_.BytesAt(1))};
  request_.Reset();
  return sent;
}

absl::StatusOr<std::vector<v1::Job>> SqliteJobStore::List(const std::string& before_id,
                                                          int64_t limit) {
  absl::MutexLock lock(&mu_);
  std::vector<v1::Job> page;
  // Every id begins with a "j".
  page_.Text(before_id.empty() ? "k" : before_id).Int(limit);
  for (;;) {
    CONVD_ASSIGN_OR_RETURN(const bool more, page_.Step());
    if (!more) return page;
    absl::StatusOr<Row> row = Read(page_, JobParts::kListed);
    if (!row.ok()) {
      page_.Reset();
      return row.status();
    }
    page.push_back(std::move(row->record.job));
  }
}

absl::StatusOr<std::vector<LiveJob>> SqliteJobStore::Live() {
  absl::MutexLock lock(&mu_);
  std::vector<LiveJob> jobs;
  for (;;) {
    CONVD_ASSIGN_OR_RETURN(const bool more, live_.Step());
    if (!more) return jobs;
    const absl::StatusOr<Row> row = Read(live_, JobParts::kListed);
    if (!row.ok()) {
      live_.Reset();
      return row.status();
    }
    LiveJob& live = jobs.emplace_back(LiveJobOf(row->record.job));
    live.wished = static_cast<v1::JobState>(live_.IntAt(kWished));
  }
}

// A process that ended after a failed fsync may have left a log of which only the kernel's cache
// has some part, without writing it ever. SQLite would take that part for committed and append to
// it; a power cut would then end the log before what was appended. So its bytes are written anew.
absl::Status MakeLogDurable(FileSystem& fs, const std::string& log) {
  constexpr int64_t kMost = int64_t{1} << 30;
  const absl::StatusOr<std::string> bytes = fs.Read(log, kMost);
  if (absl::IsNotFound(bytes.status())) return absl::OkStatus();
  CONVD_RETURN_IF_ERROR(bytes.status());
  return WriteFileAtomically(fs, log, *bytes);
}

absl::StatusOr<std::unique_ptr<JobStore>> OpenStore(const std::string& path, const char* vfs) {
  CONVD_ASSIGN_OR_RETURN(std::unique_ptr<SqliteDatabase> database,
                         SqliteDatabase::Open(path, kApplicationId, kMigrations, vfs));
  auto store = std::make_unique<SqliteJobStore>(std::move(database));
  CONVD_RETURN_IF_ERROR(store->Prepare());
  return std::unique_ptr<JobStore>(std::move(store));
}

}  // namespace

LiveJob LiveJobOf(const v1::Job& job) {
  LiveJob live;
  live.id = job.id();
  live.state = job.state();
  live.created =
      absl::FromUnixNanos(job.created().seconds() * 1'000'000'000 + job.created().nanos());
  live.priority = job.priority();
  live.started = job.has_started();
  live.train_dataset = job.request().dataset().name();
  live.validation_dataset = job.request().validation().dataset().name();
  live.initial_model = job.request().initial_model();
  return live;
}

absl::StatusOr<std::unique_ptr<JobStore>> OpenSqliteJobStore(FileSystem& fs,
                                                             const std::string& folder,
                                                             const char* vfs) {
  const std::string path = folder + "/convd.db";
  CONVD_RETURN_IF_ERROR(MakeLogDurable(fs, path + "-wal"));
  CONVD_ASSIGN_OR_RETURN(std::unique_ptr<JobStore> store, OpenStore(path, vfs));
  // SQLite has made its log by now. It syncs the folder then, but doesn't look whether that worked;
  // without the log's name in it, what was committed would be gone after a power cut.
  CONVD_RETURN_IF_ERROR(fs.SyncDirectory(folder));
  return store;
}

absl::StatusOr<std::unique_ptr<JobStore>> NewInMemoryJobStore() {
  return OpenStore(":memory:", nullptr);
}

}  // namespace convd
