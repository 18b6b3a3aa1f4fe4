#ifndef CONVD_SERVER_DATASETS_UPLOAD_FILES_H_
#define CONVD_SERVER_DATASETS_UPLOAD_FILES_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "core/storage/file_system.h"
#include "server/datasets/registry.h"

namespace convd {

// The files of one upload, in a folder of theirs, as they grow. One thread at a time; `fs` outlives
// it.
class UploadFiles {
 public:
  static constexpr int kMaxFiles = 64;  // all of them are open

  // `max_bytes` of all files together; `take_room` is asked before each write.
  UploadFiles(FileSystem& fs, std::string folder, int64_t max_bytes, TakeRoom take_room)
      : fs_(fs),
        folder_(std::move(folder)),
        max_bytes_(max_bytes),
        take_room_(std::move(take_room)) {}

  const std::string& folder() const { return folder_; }
  bool empty() const { return files_.empty(); }
  // Of one of the files; 0 where it isn't there.
  int64_t Size(const std::string& file) const;
  std::map<std::string, int64_t> Sizes() const;

  // Goes on with the files that lie in the folder, before the first Append.
  absl::Status Find();
  // Why the upload can't become a dataset with these bytes, whatever follows: INVALID_ARGUMENT for
  // a name that can't be, for one file too many, and past the limit.
  absl::Status Check(const std::string& file, int64_t bytes) const;
  // Makes folder and file where they aren't there yet. REQUIRES: Check was OK. After an error how
  // much was written isn't known.
  absl::Status Append(const std::string& file, std::string_view data);
  absl::Status Close();

 private:
  struct File {
    int64_t bytes = 0;
    bool is_there = false;                 // on the disk
    std::unique_ptr<WritableFile> writer;  // null before the first Append
  };

  FileSystem& fs_;
  const std::string folder_;
  const int64_t max_bytes_;
  const TakeRoom take_room_;
  int64_t bytes_ = 0;
  std::map<std::string, File> files_;
};

}  // namespace convd

#endif  // CONVD_SERVER_DATASETS_UPLOAD_FILES_H_
