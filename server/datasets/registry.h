#ifndef CONVD_SERVER_DATASETS_REGISTRY_H_
#define CONVD_SERVER_DATASETS_REGISTRY_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "convd/v1/datasets.pb.h"
#include "core/data/dataset.h"
#include "core/data/limits.h"
#include "core/storage/file_system.h"
#include "core/time/clock.h"

namespace convd {

// Files of one dataset on their way in. Without an upload_id dropping it leaves nothing behind;
// with one, what was written stays, but for errors that nothing that follows can mend, after which
// it is removed. Goes before its registry. One thread at a time.
class DatasetUpload {
 public:
  virtual ~DatasetUpload() = default;
  // Appends to `file`, a plain name (core/names), or begins it. INVALID_ARGUMENT past the size
  // limit; with an upload_id OUT_OF_RANGE where `offset` isn't what is there of the file, and
  // ABORTED where it was deleted or another stream has it. After an error there is no going on: it
  // is returned again, by Commit too.
  virtual absl::Status Write(const std::string& file, int64_t offset, std::string_view data) = 0;
  // Decodes, checks and publishes all of it, as Register does; once.
  virtual absl::StatusOr<v1::Dataset> Commit() = 0;
  // `call` says that Write and Commit are ABORTED from now on, and why; at once where they are
  // already. On another thread, perhaps when this is gone.
  virtual void OnTakenAway(std::function<void(const absl::Status&)> /*call*/) {}
};

// OK where what is kept may grow by so many bytes, else RESOURCE_EXHAUSTED. May read the disk; any
// thread may call.
using TakeRoom = std::function<absl::Status(int64_t bytes)>;

// The server's datasets: name -> content-addressed folder under STATE/datasets. Any thread may
// call.
//
//   datasets/<sha256>/             decoded arrays and their record (dataset_folder.h), made under
//                                  STATE/tmp, synced, renamed into place, never changed after that
//   datasets/names/<name>.textproto    a v1::Dataset: what the name stands for, and since when
//   uploads/<id>/                  what has come of uploads that have an id (partial_uploads.h)
//
// Names for the same content share its folder, which goes with the last of them.
class DatasetRegistry {
 public:
  virtual ~DatasetRegistry() = default;

  // Reads what is registered already, and removes what an interrupted call left under STATE; so one
  // process at a time per STATE. What is damaged is left out of the list, with a warning, and never
  // hides the others; it can be deleted, or registered again. `data_dirs` are the only folders that
  // Register reads from; they must exist. `take_room` is asked before anything large is written.
  // `fs` and `clock` outlive the registry.
  static absl::StatusOr<std::unique_ptr<DatasetRegistry>> Open(
      FileSystem& fs, const Clock& clock, const std::string& state_dir,
      const std::vector<std::string>& data_dirs, const DataLimits& limits = {},
      TakeRoom take_room = [](int64_t) { return absl::OkStatus(); });

  // Decoded once into STATE. The same name with the same content is OK and changes nothing; with
  // another content ALREADY_EXISTS. PERMISSION_DENIED outside the data dirs, also where a symbolic
  // link leads out of them. Nothing half written on any error. Reads and writes whole datasets, one
  // at a time: blocks for seconds.
  virtual absl::StatusOr<v1::Dataset> Register(const v1::RegisterDatasetRequest& request) = 0;
  // With an upload_id it goes on with what is there under that, and takes it from the upload that
  // has it. FAILED_PRECONDITION names the field of the header that isn't as it was; UNAVAILABLE
  // while a dataset is made of it; RESOURCE_EXHAUSTED where 64 wait to be gone on with.
  virtual absl::StatusOr<std::unique_ptr<DatasetUpload>> BeginUpload(
      const v1::UploadHeader& header) = 0;
  // What is there of an upload with an id, on the disk for good. Reads its files whole, and returns
  // what `go_on` says as soon as that isn't OK.
  virtual absl::StatusOr<v1::Upload> GetUpload(const std::string& id,
                                               const std::function<absl::Status()>& /*go_on*/) {
    return absl::NotFoundError(id);
  }
  // All that wait to be gone on with, by id, without hashes and the headers' files and labels. What
  // can't be read has only its id.
  virtual std::vector<v1::Upload> ListUploads() { return {}; }
  virtual absl::Status DeleteUpload(const std::string& id) { return absl::NotFoundError(id); }
  // Those that were unused for 24 hours; returns their ids. To be called now and then.
  virtual std::vector<std::string> RemoveUnusedUploads() { return {}; }

  // NOT_FOUND names the dataset; DATA_LOSS says what is damaged.
  virtual absl::StatusOr<v1::Dataset> Get(const std::string& name) = 0;
  virtual std::vector<v1::Dataset> List() = 0;  // by name
  virtual absl::Status Delete(const std::string& name) = 0;

  // Held shared by who accepts what names a dataset, from the look at the dataset to the
  // acceptance; held exclusively by who deletes one, from the look for its users to the deletion.
  absl::Mutex& in_use() ABSL_LOCK_RETURNED(in_use_) { return in_use_; }

  // Mapped into memory; stays valid while the pointer is held, also after Delete.
  virtual absl::StatusOr<std::shared_ptr<const Dataset>> Load(const std::string& name) = 0;

  // What was left out, removed or found damaged since the last call, in words for the log.
  virtual std::vector<std::string> TakeWarnings() { return {}; }

 private:
  absl::Mutex in_use_;
};

}  // namespace convd

#endif  // CONVD_SERVER_DATASETS_REGISTRY_H_
