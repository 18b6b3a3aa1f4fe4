#include "server/datasets/upload_files.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"

namespace convd {

int64_t UploadFiles::Size(const std::string& file) const {
  const auto there = files_.find(file);
  return there == files_.end() ? 0 : there->second.bytes;
}

std::map<std::string, int64_t> UploadFiles::Sizes() const {
  std::map<std::string, int64_t> sizes;
  for (const auto& [name, file] : files_) sizes[name] = file.bytes;
  return sizes;
}

absl::Status UploadFiles::Find() {
  CONVD_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs_.List(folder_));
  for (const std::string& name : names) {
    CONVD_ASSIGN_OR_RETURN(const PathInfo info, fs_.Examine(absl::StrCat(folder_, "/", name)));
    File& file = files_[name];
    file.bytes = info.bytes;
    file.is_there = true;
    bytes_ += info.bytes;
  }
  return absl::OkStatus();
}

absl::Status UploadFiles::Check(const std::string& file, int64_t bytes) const {
  CONVD_RETURN_IF_ERROR(CheckName("chunk.file", file));
  if (bytes > max_bytes_ - bytes_) {
    return absl::InvalidArgumentError(
        absl::StrCat("the upload has more than ", max_bytes_, " bytes, which is the limit"));
  }
  if (files_.find(file) == files_.end() && files_.size() >= kMaxFiles) {
    return absl::InvalidArgumentError(absl::StrCat("chunk.file: \"", file, "\" is file number ",
                                                   files_.size() + 1, "; want at most ",
                                                   kMaxFiles));
  }
  return absl::OkStatus();
}

absl::Status UploadFiles::Append(const std::string& name, std::string_view data) {
  CONVD_RETURN_IF_ERROR(take_room_(static_cast<int64_t>(data.size())));
  const bool first = files_.empty();
  File& file = files_[name];
  if (first) CONVD_RETURN_IF_ERROR(fs_.CreateDirectories(folder_));
  if (file.writer == nullptr) {
    const std::string path = absl::StrCat(folder_, "/", name);
    CONVD_ASSIGN_OR_RETURN(file.writer, file.is_there ? fs_.OpenToAppend(path) : fs_.Create(path));
    file.is_there = true;
  }
  file.bytes += static_cast<int64_t>(data.size());
  bytes_ += static_cast<int64_t>(data.size());
  return file.writer->Append(data);
}

absl::Status UploadFiles::Close() {
  absl::Status status;
  for (auto& [name, file] : files_) {
    if (file.writer != nullptr) status.Update(file.writer->Close());
    file.writer = nullptr;
  }
  return status;
}

}  // namespace convd
