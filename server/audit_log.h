#ifndef CONVD_SERVER_AUDIT_LOG_H_
#define CONVD_SERVER_AUDIT_LOG_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/storage/file_system.h"

namespace convd {

// One change that somebody made or tried to make. Its texts may hold any bytes.
struct AuditRecord {
  absl::Time time;
  std::string_view principal;
  std::string_view peer;
  std::string_view request_id;
  std::string_view method;   // "/convd.v1.Jobs/Train"
  std::string_view target;   // "model m version 3"
  std::string_view outcome;  // the status's code, "OK"
  std::string_view message;  // the status's, empty for OK
};

// As a line of JSON, without its end: the fields above by their names, the time as RFC 3339 in UTC.
std::string AuditLine(const AuditRecord& record);

// A file to which a line of JSON is appended for each record. It is opened for each, so that it may
// be renamed away at any time. Any thread may call.
class AuditLog {
 public:
  // Errors name --audit-log; the file is made where it isn't there. The file system outlives it.
  static absl::StatusOr<std::unique_ptr<AuditLog>> Open(FileSystem& fs, const std::string& path);

  // On the disk when it returns.
  absl::Status Write(const AuditRecord& record);

 private:
  AuditLog(FileSystem& fs, const std::string& path) : fs_(fs), path_(path) {}
  absl::Status Append(std::string_view text) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  FileSystem& fs_;
  const std::string path_;
  absl::Mutex mu_;  // one line after another
};

}  // namespace convd

#endif  // CONVD_SERVER_AUDIT_LOG_H_
