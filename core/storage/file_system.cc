#include "core/storage/file_system.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

class ReadFile final : public ReadableFile {
 public:
  ReadFile(std::string path, std::string data) : path_(std::move(path)), data_(std::move(data)) {}
  int64_t size() const override { return static_cast<int64_t>(data_.size()); }
  absl::Status ReadAt(int64_t offset, absl::Span<char> out) override {
    if (offset < 0 || offset > size() || out.size() > data_.size() - static_cast<size_t>(offset)) {
      return absl::AbortedError(absl::StrCat(path_, ": ends before what is to be read"));
    }
    std::copy_n(data_.begin() + offset, out.size(), out.begin());
    return absl::OkStatus();
  }

 private:
  const std::string path_;
  const std::string data_;
};

class HeapScratch final : public ScratchMemory {
 public:
  explicit HeapScratch(char* data) : data_(data) {}
  ~HeapScratch() override { std::free(data_); }
  char* data() override { return data_; }

 private:
  char* const data_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<WritableFile>> FileSystem::OpenToAppend(const std::string& path) {
  return absl::UnimplementedError(absl::StrCat(path, ": files here are written once"));
}

absl::StatusOr<PathInfo> FileSystem::Examine(const std::string& path) {
  if (!Exists(path)) return absl::NotFoundError(absl::StrCat(path, ": is not there"));
  if (IsDirectory(path)) return PathInfo{PathInfo::Kind::kFolder, 0};
  CONVD_ASSIGN_OR_RETURN(const int64_t bytes, Size(path));
  return PathInfo{PathInfo::Kind::kFile, bytes};
}

absl::StatusOr<std::unique_ptr<ReadableFile>> FileSystem::Open(const std::string& path) {
  CONVD_ASSIGN_OR_RETURN(std::string data, Read(path, std::numeric_limits<int64_t>::max() - 1));
  return std::make_unique<ReadFile>(path, std::move(data));
}

absl::StatusOr<FileStamp> ReadableFile::Stamp() {
  return absl::UnimplementedError("this file system keeps no times");
}

absl::StatusOr<FileStamp> FileSystem::Stamp(const std::string& path) {
  return absl::UnimplementedError(absl::StrCat(path, ": this file system keeps no times"));
}

absl::StatusOr<std::unique_ptr<ScratchMemory>> FileSystem::MapScratch(const std::string& folder,
                                                                      int64_t bytes) {
  char* const data = static_cast<char*>(std::malloc(static_cast<size_t>(bytes)));
  if (data != nullptr) return std::make_unique<HeapScratch>(data);
  return absl::ResourceExhaustedError(absl::StrCat(folder, ": no memory for ", bytes, " bytes"));
}

absl::Status WriteFileAtomically(FileSystem& fs, const std::string& path, std::string_view data) {
  const std::string temporary = absl::StrCat(path, ".tmp");
  absl::StatusOr<std::unique_ptr<WritableFile>> file = fs.Create(temporary);
  CONVD_RETURN_IF_ERROR(file.status());
  // The first error is the one to tell; that the temporary file stays too is no news then.
  absl::Cleanup remove = [&] { fs.Remove(temporary).IgnoreError(); };
  CONVD_RETURN_IF_ERROR((*file)->Append(data));
  CONVD_RETURN_IF_ERROR((*file)->Sync());
  CONVD_RETURN_IF_ERROR((*file)->Close());
  CONVD_RETURN_IF_ERROR(fs.Rename(temporary, path));
  std::move(remove).Cancel();
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "."
                             : slash == 0               ? "/"
                                                        : path.substr(0, slash);
  return fs.SyncDirectory(folder);
}

}  // namespace convd
