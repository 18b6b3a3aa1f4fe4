#ifndef CONVD_SERVER_AUDIT_LOG_H_
#define CONVD_SERVER_AUDIT_LOG_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

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

// A file to which a line of JSON is appended for each record. It is opened anew each time, so that
// it may be renamed away at any time. Any thread may call.
class AuditLog {
 public:
  // Told of what WriteSoon was given and isn't in the file, on the log's own thread: why, and the
  // lines, or how many there were.
  using Unwritten = std::function<void(const absl::Status&, std::string_view what)>;

  // Errors name --audit-log; the file is made where it isn't there. The file system outlives it.
  static absl::StatusOr<std::unique_ptr<AuditLog>> Open(FileSystem& fs, const std::string& path,
                                                        Unwritten unwritten = nullptr);
  // Writes what waits.
  ~AuditLog();

  // On the disk when it returns OK.
  absl::Status Write(const AuditRecord& record);

  // On the disk soon; doesn't wait for it. Where kMostWaiting wait already it is left out, and a
  // line of the file says how many were.
  void WriteSoon(const AuditRecord& record);
  static constexpr size_t kMostWaiting = 1024;
  // Returns when what WriteSoon was given before has been written, or can't be.
  void Flush();

 private:
  AuditLog(FileSystem& fs, const std::string& path, Unwritten unwritten);
  absl::Status Append(std::string_view lines) ABSL_LOCKS_EXCLUDED(file_mu_);
  // Whether the file's last line has no end, as one has that a full disk cut off.
  absl::StatusOr<bool> EndsWithinALine();
  void WriteWaiting();  // on thread_, until the end

  FileSystem& fs_;
  const std::string path_;
  const Unwritten unwritten_;

  absl::Mutex file_mu_;  // one after another
  bool may_be_cut_ ABSL_GUARDED_BY(file_mu_) = true;

  absl::Mutex mu_;
  std::vector<std::string> waiting_ ABSL_GUARDED_BY(mu_);
  int64_t left_out_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Time left_out_last_ ABSL_GUARDED_BY(mu_);
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;  // last: it uses the rest
};

}  // namespace convd

#endif  // CONVD_SERVER_AUDIT_LOG_H_
