#ifndef CONVD_SERVER_JOBS_CHECKPOINTS_H_
#define CONVD_SERVER_JOBS_CHECKPOINTS_H_

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "convd/v1/checkpoint.pb.h"
#include "core/storage/file_system.h"

namespace convd {

// The jobs' checkpoints: STATE/checkpoints/JOB/N, the two newest of each job. A file is
//
//   "CONVDCP1", the header's size (4 bytes, little-endian), the header (convd.v1.CheckpointHeader),
//   what the trainer saved, and the SHA-256 of all of that (64 hex digits).
//
// Any thread may call; of one job one at a time. The file system outlives it.
class JobCheckpoints {
 public:
  using Sink = absl::FunctionRef<absl::Status(std::string_view)>;
  using Warn = std::function<void(const std::string&)>;

  // REQUIRES: `state_dir` is there, with its folder tmp.
  JobCheckpoints(FileSystem& fs, const std::string& state_dir, Warn warn);

  // Makes the folder, and removes what a crash left: half-written files, and checkpoints of jobs
  // that aren't in `live`. Before anything is written.
  absl::Status Sweep(const std::set<std::string>& live);

  // On disk when it returns OK. On an error the checkpoints of before are still there.
  absl::Status Write(const v1::CheckpointHeader& header,
                     absl::FunctionRef<absl::Status(Sink)> save);

  struct Found {
    v1::CheckpointHeader header;
    std::unique_ptr<MappedFile> file;
    std::string_view saved;  // lies in `file`
  };
  // The newest that is whole; warns of those that aren't. NOT_FOUND where there is none: then the
  // job begins anew, to the same bits.
  absl::StatusOr<Found> Find(const std::string& job_id);

  // Of a job that has ended. What can't be removed is left to the next Sweep.
  void Remove(const std::string& job_id);

 private:
  std::string Folder(const std::string& job_id) const { return folder_ + "/" + job_id; }
  // Of the files in a job's folder, ascending; what has no such name isn't a checkpoint.
  absl::StatusOr<std::vector<int64_t>> Numbers(const std::string& job_id) const;

  FileSystem& fs_;
  const std::string folder_, tmp_;
  const Warn warn_;
};

}  // namespace convd

#endif  // CONVD_SERVER_JOBS_CHECKPOINTS_H_
