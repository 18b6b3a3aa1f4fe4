#include "server/audit_log.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "core/status/status_macros.h"
#include "server/json_text.h"

namespace convd {
namespace {

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

std::string AuditLine(const AuditRecord& record) {
  std::string line = "{\"time\":\"";
  line += absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", record.time, absl::UTCTimeZone());
  line += '"';
  const auto add = [&line](std::string_view name, std::string_view text) {
    line += ",\"";
    line += name;
    line += "\":";
    AppendJsonString(text, line);
  };
  add("principal", record.principal);
  add("peer", record.peer);
  add("request_id", record.request_id);
  add("method", record.method);
  add("target", record.target);
  add("outcome", record.outcome);
  add("message", record.message);
  line += '}';
  return line;
}

absl::StatusOr<std::unique_ptr<AuditLog>> AuditLog::Open(FileSystem& fs, const std::string& path,
                                                         Unwritten unwritten) {
  std::unique_ptr<AuditLog> log(new AuditLog(fs, path, std::move(unwritten)));
  // Nothing yet, but it is found out now whether it can be.
  CONVD_RETURN_IF_ERROR(log->Append(""));
  return log;
}

AuditLog::AuditLog(FileSystem& fs, const std::string& path, Unwritten unwritten)
    : fs_(fs), path_(path), unwritten_(std::move(unwritten)), thread_([this] { WriteWaiting(); }) {}

AuditLog::~AuditLog() {
  {
    absl::MutexLock lock(&mu_);
    ended_ = true;
  }
  thread_.join();
}

absl::Status AuditLog::Write(const AuditRecord& record) { return Append(AuditLine(record) + "\n"); }

void AuditLog::WriteSoon(const AuditRecord& record) {
  absl::MutexLock lock(&mu_);
  if (waiting_.size() < kMostWaiting) {
    waiting_.push_back(AuditLine(record) + "\n");
  } else {
    ++left_out_;
    left_out_last_ = record.time;
  }
}

void AuditLog::Flush() {
  absl::MutexLock lock(&mu_);
  const auto idle = [this]()
                        ABSL_SHARED_LOCKS_REQUIRED(mu_) { return waiting_.empty() && !writing_; };
  mu_.Await(absl::Condition(&idle));
}

void AuditLog::WriteWaiting() {
  const auto due = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return ended_ || !waiting_.empty(); };
  for (;;) {
    std::vector<std::string> lines;
    int64_t left_out = 0;
    absl::Time left_out_last;
    {
      absl::MutexLock lock(&mu_);
      writing_ = false;
      mu_.Await(absl::Condition(&due));
      if (waiting_.empty()) return;
      writing_ = true;
      lines.swap(waiting_);
      left_out = std::exchange(left_out_, 0);
      left_out_last = left_out_last_;
    }
    std::string text = absl::StrJoin(lines, "");
    if (left_out > 0) {
      const std::string message =
          absl::StrCat(left_out,
                       " lines of calls that changed nothing are left out here: they came "
                       "faster than the disk took them");
      text += AuditLine({left_out_last, "", "", "", "", "", "RESOURCE_EXHAUSTED", message}) + "\n";
      if (unwritten_) unwritten_(absl::ResourceExhaustedError("--audit-log"), message);
    }
    // Together, so that the disk is waited for once.
    const absl::Status written = Append(text);
    if (!written.ok() && unwritten_) unwritten_(written, text);
  }
}

absl::StatusOr<bool> AuditLog::EndsWithinALine() {
  CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<ReadableFile> file, fs_.Open(path_));
  if (file->size() == 0) return false;
  char last = 0;
  CONVD_RETURN_IF_ERROR(file->ReadAt(file->size() - 1, absl::MakeSpan(&last, 1)));
  return last != '\n';
}

absl::Status AuditLog::Append(std::string_view lines) {
  absl::MutexLock lock(&file_mu_);
  const auto append = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(file_mu_) -> absl::Status {
    std::string_view begin;
    absl::StatusOr<std::unique_ptr<WritableFile>> file = fs_.OpenToAppend(path_);
    const bool is_new = absl::IsNotFound(file.status());
    if (is_new) {
      file = fs_.Create(path_);
    } else if (may_be_cut_) {
      // One that may only be appended to, or has just been moved away, isn't known to be whole.
      if (EndsWithinALine().value_or(true)) begin = "\n";
    }
    CONVD_RETURN_IF_ERROR(file.status());
    may_be_cut_ = true;
    CONVD_RETURN_IF_ERROR(
        (*file)->Append(absl::StrCat(absl::string_view(begin.data(), begin.size()),
                                     absl::string_view(lines.data(), lines.size()))));
    CONVD_RETURN_IF_ERROR((*file)->Sync());
    CONVD_RETURN_IF_ERROR((*file)->Close());
    may_be_cut_ = false;
    // Else a power cut could take the file's name, and with it all that it holds.
    return is_new ? fs_.SyncDirectory(FolderOf(path_)) : absl::OkStatus();
  };
  const absl::Status status = append();
  return status.ok() ? status
                     : absl::Status(status.code(), absl::StrCat("--audit-log: ", status.message()));
}

}  // namespace convd
