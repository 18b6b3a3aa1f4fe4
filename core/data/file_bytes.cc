#include "core/data/file_bytes.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

absl::Status CheckFileSize(const std::string& name, int64_t bytes, int64_t limit) {
  if (bytes <= limit) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, ": has ", bytes, " bytes; the limit is ", limit));
}

}  // namespace

absl::StatusOr<FileBytes> FileBytes::Map(FileSystem& fs, const std::string& path,
                                         const std::string& name, const DataLimits& limits) {
  FileBytes bytes;
  CONVD_ASSIGN_OR_RETURN(bytes.mapped_, fs.Map(path));
  CONVD_RETURN_IF_ERROR(
      CheckFileSize(name, static_cast<int64_t>(bytes.mapped_->data().size()), limits.file_bytes));
  return bytes;
}

absl::StatusOr<FileBytes> FileBytes::Copy(FileSystem& fs, const std::string& path,
                                          const std::string& name, const DataLimits& limits) {
  CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<ReadableFile> file, fs.Open(path));
  CONVD_RETURN_IF_ERROR(CheckFileSize(name, file->size(), limits.file_bytes));
  FileBytes bytes;
  CONVD_ASSIGN_OR_RETURN(bytes.copy_, HeapArray<char>::Allocate(file->size(), name, limits.arrays));
  CONVD_RETURN_IF_ERROR(
      file->ReadAt(0, absl::MakeSpan(bytes.copy_.data(), static_cast<size_t>(bytes.copy_.size()))));
  return bytes;
}

absl::StatusOr<std::string> ReadFileText(FileSystem& fs, const std::string& path,
                                         const std::string& name, int64_t limit) {
  CONVD_ASSIGN_OR_RETURN(const int64_t size, fs.Size(path));
  CONVD_RETURN_IF_ERROR(CheckFileSize(name, size, limit));
  return fs.Read(path, limit);
}

}  // namespace convd
