#ifndef CONVD_SERVER_DATASETS_PARTIAL_UPLOADS_H_
#define CONVD_SERVER_DATASETS_PARTIAL_UPLOADS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "convd/v1/datasets.pb.h"
#include "core/storage/file_system.h"
#include "core/time/clock.h"
#include "server/datasets/registry.h"

namespace convd {

struct PartialUpload;

// The uploads that were begun with an id, and are kept until they are datasets, each in a folder of
// its own (upload_folder.h). Nobody is told that a byte is there before it is synced (Get): what a
// power cut takes of the rest is sent again. One stream at a time writes to an upload; a later one
// takes it over. Any thread may call; what is in `options` outlives this, and this outlives its
// uploads.
class PartialUploads {
 public:
  static constexpr int kMax = 64;
  static constexpr absl::Duration kKept = absl::Hours(24);  // unused

  struct Options {
    std::string folder;                      // STATE/uploads
    int64_t max_bytes = 0;                   // of an upload's files together
    TakeRoom take_room;                      // asked before each write
    std::function<std::string()> temporary;  // a new path, on the same disk, that a start removes
    std::function<void(std::string)> warn;   // in words for the log
  };

  PartialUploads(FileSystem& fs, const Clock& clock, Options options)
      : fs_(fs), clock_(clock), options_(std::move(options)) {}

  // Finds what an earlier process left. What isn't an upload as above, be it a link, and what was
  // unused for too long is removed with a warning, and never followed; what can't be read now is
  // left, and not used. Once, before all else.
  absl::Status Scan();

  using Publish = absl::AnyInvocable<absl::StatusOr<v1::Dataset>(const std::string& folder)>;

  // Begins an upload, or goes on with one: what it has is where the next chunks belong. Takes it
  // from the stream that has it. `publish` reads and publishes the files in a folder; `ended` is
  // called by the upload's destructor. FAILED_PRECONDITION names the field of the header that isn't
  // as it was; UNAVAILABLE while a dataset is made of it; RESOURCE_EXHAUSTED where there are kMax.
  // REQUIRES: CheckUploadHeader is OK, and there is an id.
  absl::StatusOr<std::unique_ptr<DatasetUpload>> Begin(const v1::UploadHeader& header,
                                                       Publish publish,
                                                       absl::AnyInvocable<void()> ended);
  // Whether a stream has it now.
  bool IsOpen(const std::string& id);

  // DatasetRegistry says what these do.
  absl::StatusOr<v1::Upload> Get(const std::string& id, const std::function<absl::Status()>& go_on);
  std::vector<v1::Upload> List();
  absl::Status Delete(const std::string& id);
  std::vector<std::string> RemoveUnused();

 private:
  friend class KeptUpload;
  using Pointer = std::shared_ptr<PartialUpload>;

  std::string Place(const std::string& id) const;
  absl::StatusOr<Pointer> Find(const std::string& id);
  // Its header, the sizes of its files and how it is now.
  absl::StatusOr<v1::Upload> Describe(PartialUpload& upload);
  // Of each file the bytes that are said to be there: on the disk for good, and their hash.
  absl::Status SyncAndHash(const std::function<absl::Status()>& go_on, v1::Upload& upload);
  // Out of sight at once, and no more its owner's; returns what to remove and whom to tell.
  struct Hidden {
    std::string path;
    std::function<void(const absl::Status&)> take_away;
  };
  absl::StatusOr<Hidden> Hide(PartialUpload& upload, const absl::Status& why)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // By a stream, where it has it still.
  absl::Status RemoveOwn(const Pointer& upload, const void* owner, const absl::Status& why);

  FileSystem& fs_;
  const Clock& clock_;
  const Options options_;
  // Held while folders appear and disappear.
  absl::Mutex mu_;
  std::map<std::string, Pointer> uploads_ ABSL_GUARDED_BY(mu_);  // by id
};

}  // namespace convd

#endif  // CONVD_SERVER_DATASETS_PARTIAL_UPLOADS_H_
