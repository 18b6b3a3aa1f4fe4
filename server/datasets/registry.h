#ifndef CONVD_SERVER_DATASETS_REGISTRY_H_
#define CONVD_SERVER_DATASETS_REGISTRY_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "convd/v1/datasets.pb.h"
#include "core/data/dataset.h"
#include "core/storage/file_system.h"
#include "core/time/clock.h"

namespace convd {

// Files of one dataset on their way in. Dropping it without Commit leaves nothing behind. One
// thread at a time.
class DatasetUpload {
 public:
  virtual ~DatasetUpload() = default;
  // Appends to `file`, or begins it. RESOURCE_EXHAUSTED past the size limit.
  virtual absl::Status Write(const std::string& file, std::string_view data) = 0;
  // Decodes, checks and publishes all of it.
  virtual absl::StatusOr<v1::Dataset> Commit() = 0;
};

// The server's datasets: name -> content-addressed folder under STATE/datasets. Any thread may
// call.
class DatasetRegistry {
 public:
  virtual ~DatasetRegistry() = default;

  // Reads what is registered already. `data_dirs` are the only folders that Register reads from.
  static absl::StatusOr<std::unique_ptr<DatasetRegistry>> Open(
      FileSystem& fs, const Clock& clock, const std::string& state_dir,
      const std::vector<std::string>& data_dirs);

  // Decoded once into STATE. The same name with the same content is OK and changes nothing; with
  // another content ALREADY_EXISTS. PERMISSION_DENIED outside the data dirs. Nothing half written
  // on any error.
  virtual absl::StatusOr<v1::Dataset> Register(const v1::RegisterDatasetRequest& request) = 0;
  virtual absl::StatusOr<std::unique_ptr<DatasetUpload>> BeginUpload(
      const v1::UploadHeader& header) = 0;

  // NOT_FOUND names the dataset.
  virtual absl::StatusOr<v1::Dataset> Get(const std::string& name) = 0;
  virtual std::vector<v1::Dataset> List() = 0;  // by name
  virtual absl::Status Delete(const std::string& name) = 0;

  // Mapped into memory; stays valid while the pointer is held, also after Delete.
  virtual absl::StatusOr<std::shared_ptr<const Dataset>> Load(const std::string& name) = 0;
};

}  // namespace convd

#endif  // CONVD_SERVER_DATASETS_REGISTRY_H_
