#include "client/dataset_upload.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"
#include "core/storage/sha256.h"

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

absl::StatusOr<struct stat> Examine(const std::string& path, const File& file) {
  struct stat info;
  if (fstat(fileno(file.get()), &info) != 0) return ErrnoStatus(path, errno);
  return info;
}

absl::StatusOr<File> OpenFile(const std::string& path) {
  File file(std::fopen(path.c_str(), "rbe"));
  if (file == nullptr) return ErrnoStatus(path, errno);
  CONVD_ASSIGN_OR_RETURN(const struct stat info, Examine(path, file));
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
    CONVD_ASSIGN_OR_RETURN(const struct stat info, Examine(local.path, file));
    total += info.st_size;
  }
  return total;
}

absl::StatusOr<std::string> UploadIdFor(const v1::UploadHeader& header,
                                        const std::vector<LocalFile>& files) {
  std::string what = header.SerializeAsString();
  for (const LocalFile& local : files) {
    CONVD_ASSIGN_OR_RETURN(const File file, OpenFile(local.path));
    CONVD_ASSIGN_OR_RETURN(const struct stat info, Examine(local.path, file));
    absl::StrAppend(&what, "\n", local.name, "\n", info.st_size, "\n", info.st_mtim.tv_sec, ".",
                    info.st_mtim.tv_nsec);
  }
  return absl::StrCat("convctl-", Sha256Hex(what).substr(0, 32));
}

absl::StatusOr<std::optional<BytesThere>> FindBytesThere(const v1::Upload& upload,
                                                         const std::vector<LocalFile>& files,
                                                         absl::FunctionRef<bool()> go_on) {
  BytesThere there;
  std::string data;
  for (const v1::UploadedFile& found : upload.files()) {
    const auto local = std::find_if(files.begin(), files.end(), [&](const LocalFile& file) {
      return file.name == found.file();
    });
    if (local == files.end()) return std::nullopt;
    CONVD_ASSIGN_OR_RETURN(const File file, OpenFile(local->path));
    Sha256 hash;
    for (int64_t left = found.size_bytes(); left > 0; left -= static_cast<int64_t>(data.size())) {
      if (!go_on()) return absl::CancelledError("stopped uploading");
      data.resize(static_cast<size_t>(std::min<int64_t>(left, kChunkBytes)));
      data.resize(std::fread(data.data(), 1, data.size(), file.get()));
      if (std::ferror(file.get())) return ErrnoStatus(local->path, errno);
      if (data.empty()) return std::nullopt;
      hash.Update(data);
    }
    if (hash.Hex() != found.sha256()) return std::nullopt;
    there[found.file()] = found.size_bytes();
  }
  return there;
}

absl::StatusOr<bool> SendFiles(const std::vector<LocalFile>& files, const BytesThere& there,
                               absl::FunctionRef<bool(const v1::UploadDatasetRequest&)> send,
                               absl::FunctionRef<void(int64_t)> on_sent) {
  v1::UploadDatasetRequest request;
  int64_t sent = 0;
  for (const auto& [name, bytes] : there) sent += bytes;
  for (const LocalFile& local : files) {
    CONVD_ASSIGN_OR_RETURN(const File file, OpenFile(local.path));
    const auto begun = there.find(local.name);
    int64_t offset = begun == there.end() ? 0 : begun->second;
    if (fseeko(file.get(), offset, SEEK_SET) != 0) return ErrnoStatus(local.path, errno);
    request.mutable_chunk()->set_file(local.name);
    std::string& data = *request.mutable_chunk()->mutable_data();
    for (bool is_there = begun != there.end();; is_there = true) {
      data.resize(kChunkBytes);
      data.resize(std::fread(data.data(), 1, kChunkBytes, file.get()));
      if (std::ferror(file.get())) return ErrnoStatus(local.path, errno);
      if (data.empty() && is_there) break;
      request.mutable_chunk()->set_offset(offset);
      const bool last = data.size() < kChunkBytes;
      if (!send(request)) return false;
      offset += static_cast<int64_t>(data.size());
      sent += static_cast<int64_t>(data.size());
      on_sent(sent);
      if (last) break;
    }
  }
  return true;
}

}  // namespace convd
