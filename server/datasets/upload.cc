#include "server/datasets/upload.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

class DiskUpload final : public DatasetUpload {
 public:
  DiskUpload(FileSystem& fs, UploadPlan plan) : fs_(fs), plan_(std::move(plan)) {}
  ~DiskUpload() override {
    RemoveFiles();
    plan_.ended(not_removed_);
  }

  absl::Status Write(const std::string& file, int64_t, std::string_view data) override {
    CONVD_RETURN_IF_ERROR(error_);
    error_ = plan_.files->Check(file, static_cast<int64_t>(data.size()));
    if (error_.ok()) error_ = plan_.files->Append(file, data);
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
  absl::StatusOr<v1::Dataset> CommitFiles() {
    if (plan_.files->empty()) return absl::InvalidArgumentError("the upload has no files");
    CONVD_RETURN_IF_ERROR(plan_.files->Close());
    return plan_.publish();
  }

  void RemoveFiles() {
    if (removed_ || plan_.files->empty()) return;
    removed_ = true;
    plan_.files->Close().IgnoreError();
    if (absl::Status status = fs_.RemoveAll(plan_.files->folder()); !status.ok()) {
      not_removed_ = status;
    }
  }

  FileSystem& fs_;
  UploadPlan plan_;
  bool removed_ = false;
  absl::Status error_;
  absl::Status not_removed_;
};

}  // namespace

absl::Status CheckUploadHeader(const v1::UploadHeader& header) {
  if (!header.upload_id().empty()) {
    CONVD_RETURN_IF_ERROR(CheckName("header.upload_id", header.upload_id()));
  }
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
