#include "server/audit_log.h"

#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"
#include "server/json_text.h"

namespace convd {

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

absl::StatusOr<std::unique_ptr<AuditLog>> AuditLog::Open(FileSystem& fs, const std::string& path) {
  std::unique_ptr<AuditLog> log(new AuditLog(fs, path));
  absl::MutexLock lock(&log->mu_);
  // Nothing yet, but it is found out now whether it can be.
  CONVD_RETURN_IF_ERROR(log->Append(""));
  return log;
}

absl::Status AuditLog::Write(const AuditRecord& record) {
  const std::string line = AuditLine(record) + "\n";
  absl::MutexLock lock(&mu_);
  return Append(line);
}

absl::Status AuditLog::Append(std::string_view text) {
  const auto append = [&]() -> absl::Status {
    absl::StatusOr<std::unique_ptr<WritableFile>> file = fs_.OpenToAppend(path_);
    if (absl::IsNotFound(file.status())) file = fs_.Create(path_);
    CONVD_RETURN_IF_ERROR(file.status());
    CONVD_RETURN_IF_ERROR((*file)->Append(text));
    CONVD_RETURN_IF_ERROR((*file)->Sync());
    return (*file)->Close();
  };
  const absl::Status status = append();
  return status.ok() ? status
                     : absl::Status(status.code(), absl::StrCat("--audit-log: ", status.message()));
}

}  // namespace convd
