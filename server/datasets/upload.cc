#include "server/datasets/upload.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

constexpr size_t kMaxFiles = 64;  // all of them are open

class DiskUpload final : public DatasetUpload {
 public:
  DiskUpload(FileSystem& fs, UploadPlan plan) : fs_(fs), plan_(std::move(plan)) {}
  ~DiskUpload() override {
    RemoveFiles();
    plan_.ended(not_removed_);
  }

  absl::Status Write(const std::string& file, std::string_view data) override {
    if (error_.ok()) error_ = WriteChunk(file, data);
    // What will never be committed need not fill the disk until the caller goes.
    if (!error_.ok()) RemoveFiles();
    return error_;
  }

  absl::StatusOr<v1::Dataset> Commit() override {
    CONVD_RETURN_IF_ERROR(error_);
    error_ = absl::FailedPreconditionError("this upload was committed already");
    absl::StatusOr<v1::Dataset> result = CommitFiles();
    RemoveFiles();
    return result;
  }

 private:
  absl::Status WriteChunk(const std::string& file, std::string_view data) {
    CONVD_RETURN_IF_ERROR(CheckName("chunk.file", file));
    bytes_ += static_cast<int64_t>(data.size());
    if (bytes_ > plan_.max_bytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the upload has more than ", plan_.max_bytes, " bytes, which is the limit"));
    }
    CONVD_RETURN_IF_ERROR(plan_.take_room(static_cast<int64_t>(data.size())));
    auto there = files_.find(file);
    if (there == files_.end()) {
      if (files_.size() >= kMaxFiles) {
        return absl::InvalidArgumentError(absl::StrCat("chunk.file: \"", file, "\" is file number ",
                                                       files_.size() + 1, "; want at most ",
                                                       kMaxFiles));
      }
      on_disk_ = true;
      if (files_.empty()) CONVD_RETURN_IF_ERROR(fs_.CreateDirectories(plan_.folder));
      CONVD_ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> created,
                             fs_.Create(absl::StrCat(plan_.folder, "/", file)));
      there = files_.emplace(file, std::move(created)).first;
    }
    return there->second->Append(data);
  }

  absl::StatusOr<v1::Dataset> CommitFiles() {
    if (files_.empty()) return absl::InvalidArgumentError("the upload has no files");
    for (auto& [name, file] : files_) CONVD_RETURN_IF_ERROR(file->Close());
    return plan_.publish();
  }

  void RemoveFiles() {
    files_.clear();
    if (!std::exchange(on_disk_, false)) return;
    if (absl::Status status = fs_.RemoveAll(plan_.folder); !status.ok()) not_removed_ = status;
  }

  FileSystem& fs_;
  UploadPlan plan_;
  bool on_disk_ = false;  // there may be a folder
  std::map<std::string, std::unique_ptr<WritableFile>> files_;
  int64_t bytes_ = 0;
  absl::Status error_;
  absl::Status not_removed_;
};

}  // namespace

absl::Status CheckUploadHeader(const v1::UploadHeader& header) {
  for (int i = 0; i < header.files_size(); ++i) {
    const std::string field = absl::StrCat("header.files[", i, "].");
    CONVD_RETURN_IF_ERROR(CheckName(field + "split", header.files(i).split()));
    for (const std::string& file : header.files(i).images()) {
      CONVD_RETURN_IF_ERROR(CheckName(field + "images", file));
    }
    for (const std::string& file : header.files(i).labels()) {
      CONVD_RETURN_IF_ERROR(CheckName(field + "labels", file));
    }
  }
  return absl::OkStatus();
}

std::unique_ptr<DatasetUpload> NewUpload(FileSystem& fs, UploadPlan plan) {
  return std::make_unique<DiskUpload>(fs, std::move(plan));
}

}  // namespace convd
