#ifndef CONVD_TESTS_CORE_EXEC_FAKE_FILES_H_
#define CONVD_TESTS_CORE_EXEC_FAKE_FILES_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/storage/file_system.h"

namespace convd {

using Files = std::map<std::string, std::string>;

// Files in memory that can be read and nothing else.
class FakeFiles final : public FileSystem {
 public:
  explicit FakeFiles(Files files) : files_(std::move(files)) {}

  void Set(const std::string& path, std::string text) { files_[path] = std::move(text); }
  const std::vector<std::string>& paths_read() const { return paths_read_; }

  absl::StatusOr<std::string> Read(const std::string& path, int64_t limit) override {
    paths_read_.push_back(path);
    const auto it = files_.find(path);
    if (it == files_.end()) return absl::NotFoundError(path);
    if (static_cast<int64_t>(it->second.size()) > limit) return absl::ResourceExhaustedError(path);
    return it->second;
  }

  absl::StatusOr<std::unique_ptr<WritableFile>> Create(const std::string&) override { return No(); }
  absl::StatusOr<std::unique_ptr<MappedFile>> Map(const std::string&) override { return No(); }
  absl::StatusOr<int64_t> Size(const std::string&) override { return No(); }
  bool Exists(const std::string& path) override { return files_.count(path) > 0; }
  bool IsDirectory(const std::string&) override { return false; }
  absl::StatusOr<std::vector<std::string>> List(const std::string&) override { return No(); }
  absl::Status CreateDirectories(const std::string&) override { return No(); }
  absl::Status Rename(const std::string&, const std::string&) override { return No(); }
  absl::Status Remove(const std::string&) override { return No(); }
  absl::Status RemoveAll(const std::string&) override { return No(); }
  absl::Status SyncDirectory(const std::string&) override { return No(); }
  absl::StatusOr<std::string> Canonical(const std::string&) override { return No(); }
  absl::StatusOr<int64_t> TreeBytes(const std::string&) override { return No(); }
  absl::StatusOr<int64_t> FreeBytes(const std::string&) override { return No(); }

 private:
  static absl::Status No() { return absl::UnimplementedError("these files can only be read"); }

  Files files_;
  std::vector<std::string> paths_read_;
};

}  // namespace convd

#endif  // CONVD_TESTS_CORE_EXEC_FAKE_FILES_H_
