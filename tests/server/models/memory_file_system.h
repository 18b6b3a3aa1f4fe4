#ifndef CONVD_TESTS_SERVER_MODELS_MEMORY_FILE_SYSTEM_H_
#define CONVD_TESTS_SERVER_MODELS_MEMORY_FILE_SYSTEM_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/storage/file_system.h"

namespace convd {

// A file system in memory that knows what a disk would still have after a power cut: a file's bytes
// since its last Sync and a folder's entries since its last SyncDirectory are lost. Any operation
// can be made to fail. No symbolic links. Any thread may call.
class MemoryFileSystem : public FileSystem {
 public:
  MemoryFileSystem();

  // Operations from now on are counted from 1; number `k` fails with INTERNAL and does nothing, and
  // so do those after it if `ever_after`. 0: none fails.
  void FailAt(int64_t k, bool ever_after = false);
  int64_t operations() const;
  // Called before each operation with its name and path, outside the lock.
  void OnOperation(std::function<void(std::string_view operation, const std::string& path)> call);

  // What is left after a power cut. Where `entries_survive`, folders are as they were last and only
  // unsynced bytes are lost; a disk may keep anything between the two.
  std::unique_ptr<MemoryFileSystem> AfterPowerCut(bool entries_survive) const;

  // Of all files, "/a/b" and so on, sorted.
  std::vector<std::string> AllFiles() const;
  // Past all of the above: not counted, never fails.
  std::string& Bytes(const std::string& path);
  // From now on its stamp says that, and nothing of what is changed later.
  void SetTime(const std::string& path, absl::Time time);

  absl::StatusOr<std::unique_ptr<WritableFile>> Create(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenToAppend(const std::string& path) override;
  absl::StatusOr<std::string> Read(const std::string& path, int64_t limit) override;
  absl::StatusOr<std::unique_ptr<MappedFile>> Map(const std::string& path) override;
  // Its reads are operations by themselves.
  absl::StatusOr<std::unique_ptr<ReadableFile>> Open(const std::string& path) override;
  absl::StatusOr<int64_t> Size(const std::string& path) override;
  // In place of its times, of long ago, one that what a file or folder holds says.
  absl::StatusOr<FileStamp> Stamp(const std::string& path) override;
  bool Exists(const std::string& path) override;
  bool IsDirectory(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override;
  absl::Status CreateDirectories(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status RemoveAll(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& path) override;
  absl::StatusOr<std::string> Canonical(const std::string& path) override;
  absl::StatusOr<int64_t> TreeBytes(const std::string& path) override;
  absl::StatusOr<int64_t> FreeBytes(const std::string& path) override;

 private:
  friend class MemoryFile;
  friend class MemoryReadable;

  struct Node {
    bool is_directory = false;
    std::string data, synced_data;
    std::optional<absl::Time> time;
    int64_t size_then = 0;  // when it was set
    std::map<std::string, std::shared_ptr<Node>> entries, synced_entries;
  };
  static FileStamp StampOf(const Node& node);

  absl::Status Begin(std::string_view operation, const std::string& path);
  std::shared_ptr<Node> Find(const std::string& path) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The folder that holds `path`, or null.
  std::shared_ptr<Node> Parent(const std::string& path) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static std::shared_ptr<Node> Survivor(const Node& node, bool entries_survive);
  static int64_t NodeBytes(const Node& node);
  static void CollectFiles(const Node& node, const std::string& path,
                           std::vector<std::string>& files);

  mutable absl::Mutex mu_;
  std::shared_ptr<Node> root_ ABSL_GUARDED_BY(mu_);
  int64_t operations_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t fail_at_ ABSL_GUARDED_BY(mu_) = 0;
  bool fail_ever_after_ ABSL_GUARDED_BY(mu_) = false;
  std::function<void(std::string_view, const std::string&)> on_operation_ ABSL_GUARDED_BY(mu_);
};

}  // namespace convd

#endif  // CONVD_TESTS_SERVER_MODELS_MEMORY_FILE_SYSTEM_H_
