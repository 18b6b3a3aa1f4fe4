#ifndef CONVD_SERVER_MODELS_MODEL_IMPORT_H_
#define CONVD_SERVER_MODELS_MODEL_IMPORT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "convd/v1/models.pb.h"
#include "core/storage/file_system.h"
#include "server/models/repository.h"

namespace convd {

// A version's archive (version_archive.h) on its way in. Dropping it without Commit leaves nothing
// behind. Goes before the repository and the file system. One thread at a time.
class ModelImport {
 public:
  // Keeps what comes in the folder `tmp`, which isn't there yet. `take_room` is asked before
  // anything is written: OK where what is kept may grow by so many bytes.
  ModelImport(FileSystem& fs, ModelRepository& models, std::string tmp,
              std::function<absl::Status(int64_t)> take_room);
  ~ModelImport();

  // INVALID_ARGUMENT past the most that an archive may have. After an error there is no going on:
  // Commit returns it again.
  absl::Status Write(std::string_view data);
  // Publishes it as the next version of its name (or header.name()), once every byte has been
  // checked: INVALID_ARGUMENT where it isn't such an archive, DATA_LOSS where a file isn't what its
  // MANIFEST says. Once.
  absl::StatusOr<v1::ModelVersion> Commit(const v1::ImportHeader& header);

 private:
  absl::Status TryWrite(std::string_view data);

  FileSystem& fs_;
  ModelRepository& models_;
  const std::string tmp_;
  const std::function<absl::Status(int64_t)> take_room_;
  std::unique_ptr<WritableFile> file_;
  int64_t bytes_ = 0;
  absl::Status status_;
};

// A header's name and source: INVALID_ARGUMENT where they can't be such. Any thread may call.
absl::Status CheckImportHeader(const v1::ImportHeader& header);

}  // namespace convd

#endif  // CONVD_SERVER_MODELS_MODEL_IMPORT_H_
