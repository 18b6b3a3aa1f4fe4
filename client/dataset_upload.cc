#include "client/dataset_upload.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

constexpr size_t kChunkBytes = size_t{1} << 20;

struct CloseFile {
  void operator()(FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<FILE, CloseFile>;

absl::Status ErrnoStatus(const std::string& path, int error) {
  const std::string message = absl::StrCat(path, ": ", std::strerror(error));
  if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(message);
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(message);
  return absl::InternalError(message);
}

absl::StatusOr<File> OpenFile(const std::string& path) {
  File file(std::fopen(path.c_str(), "rbe"));
  if (file == nullptr) return ErrnoStatus(path, errno);
  struct stat info;
  if (fstat(fileno(file.get()), &info) != 0) return ErrnoStatus(path, errno);
  if (S_ISDIR(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is a folder; a file is wanted"));
  }
  return file;
}

}  // namespace

absl::StatusOr<int64_t> CheckLocalFiles(const std::vector<LocalFile>& files) {
  int64_t total = 0;
  for (const LocalFile& local : files) {
    CONVD_ASSIGN_OR_RETURN(const File file, OpenFile(local.path));
    struct stat info;
    if (fstat(fileno(file.get()), &info) != 0) return ErrnoStatus(local.path, errno);
    total += info.st_size;
  }
  return total;
}

absl::Status SendFiles(const std::vector<LocalFile>& files,
                       absl::FunctionRef<bool(const v1::UploadDatasetRequest&)> send,
                       const std::function<void(int64_t)>& on_sent) {
  v1::UploadDatasetRequest request;
  int64_t sent = 0;
  for (const LocalFile& local : files) {
    CONVD_ASSIGN_OR_RETURN(const File file, OpenFile(local.path));
    request.mutable_chunk()->set_file(local.name);
    std::string& data = *request.mutable_chunk()->mutable_data();
    for (bool first = true;; first = false) {
      data.resize(kChunkBytes);
      data.resize(std::fread(data.data(), 1, kChunkBytes, file.get()));
      if (std::ferror(file.get())) return ErrnoStatus(local.path, errno);
      if (data.empty() && !first) break;
      const bool last = data.size() < kChunkBytes;
      if (!send(request)) return absl::OkStatus();
      sent += static_cast<int64_t>(data.size());
      if (on_sent) on_sent(sent);
      if (last) break;
    }
  }
  return absl::OkStatus();
}

}  // namespace convd
