#ifndef CONVD_TESTS_SIMULATION_SIMULATED_DISK_H_
#define CONVD_TESTS_SIMULATION_SIMULATED_DISK_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/storage/file_system.h"
#include "tests/simulation/cached_file.h"

namespace convd {

// A file open for reading and writing anywhere. It works on after the file's removal, until the
// machine stops. Offsets and sizes aren't negative.
class RandomAccessFile {
 public:
  virtual ~RandomAccessFile() = default;  // closes, without Sync
  // Fewer bytes than `size` only where the file ends before.
  virtual absl::StatusOr<std::string> ReadAt(int64_t offset, int64_t size) = 0;
  virtual absl::Status WriteAt(int64_t offset, std::string_view data) = 0;
  virtual absl::Status Truncate(int64_t size) = 0;
  virtual absl::Status Sync() = 0;
  virtual absl::StatusOr<int64_t> Size() = 0;
};

// A disk in memory that promises no more than POSIX does, and a machine whose power can be cut at
// any operation. What a cut takes depends on the seed and on the operations so far, on nothing
// else.
//  - A file's bytes and size are certain from its Sync on (CachedFile says what becomes of them
//    before).
//  - An entry of a folder is certain from that folder's SyncDirectory on, not from the file's Sync.
//    Of what was done since to the entries of one folder a cut leaves the first so many
//    operations, as a file system with a journal does. A rename is there wholly or not at all;
//    where the folder that it leads into is lost, so is what was renamed.
//  - After a Sync that failed the unsynced bytes may be lost even if another one says OK. A
//    SyncDirectory may be tried again.
// Errors are those of FileSystem::Posix(). No symbolic links; relative paths start at the root.
// Must outlive its open files. One thread.
class SimulatedDisk : public FileSystem {
 public:
  // One change of the disk, as it is about to begin. CreateDirectories and RemoveAll are one for
  // each folder made and each thing removed; a Create of what is there already is one too.
  struct Operation {
    enum class Kind {
      kCreate,
      kWrite,
      kTruncate,
      kSync,
      kCreateDirectory,
      kRename,
      kRemove,
      kSyncDirectory,
    };
    Kind kind = Kind::kCreate;
    std::string path;   // canonical; of a rename, where it goes; of a file, where it was opened
    int64_t index = 0;  // from 1
  };

  explicit SimulatedDisk(uint64_t seed);
  ~SimulatedDisk() override;

  // The power goes at operation `n` from now, counted from 1. It doesn't happen (of a write, a part
  // may), and everything from then on is UNAVAILABLE, until Restart. 0: not at all.
  void CrashAt(int64_t n);
  // Turns the machine on again with what the cut left; cuts the power first where it is on. Files
  // opened before are UNAVAILABLE for good. What is there now is durable. Ends CrashAt and FailAt.
  void Restart(Survival survival = Survival::kBySeed);
  // Only the process ended: all that it did is there, and what wasn't synced may still be lost.
  // Files opened before are UNAVAILABLE for good. Ends CrashAt and FailAt.
  void RestartProcess();
  bool crashed() const { return crashed_; }
  // Begun so far.
  int64_t operations() const { return operations_; }

  // Operation `n` from now fails once, with `status` and the path. A part of a write that fails may
  // be there. 0: none.
  void FailAt(int64_t n, absl::Status status);
  // Asked before every operation; it fails with what is not OK. Null: none fails.
  void FailIf(std::function<absl::Status(const Operation&)> fault) { fault_ = std::move(fault); }
  // Called before every operation. A sync of a file or a folder for which it says true is OK and
  // does nothing; for the others its answer doesn't matter.
  void OnOperation(std::function<bool(const Operation&)> ignored) { ignored_ = std::move(ignored); }
  // Of all files in folders together; what a write goes beyond it is RESOURCE_EXHAUSTED, after the
  // part for which there is room.
  void SetCapacity(std::optional<int64_t> bytes) { capacity_ = bytes; }

  // Where nothing is there: an empty one if `create`, else NOT_FOUND.
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenRandomAccess(const std::string& path,
                                                                     bool create);

  absl::StatusOr<std::unique_ptr<WritableFile>> Create(const std::string& path) override;
  absl::StatusOr<std::string> Read(const std::string& path, int64_t limit) override;
  // A copy as of now.
  absl::StatusOr<std::unique_ptr<MappedFile>> Map(const std::string& path) override;
  absl::StatusOr<int64_t> Size(const std::string& path) override;
  // False too while the machine is off.
  bool Exists(const std::string& path) override;
  bool IsDirectory(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override;
  absl::Status CreateDirectories(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status RemoveAll(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& path) override;
  absl::StatusOr<std::string> Canonical(const std::string& path) override;
  // What the files hold.
  absl::StatusOr<int64_t> TreeBytes(const std::string& path) override;
  // The rest of the capacity.
  absl::StatusOr<int64_t> FreeBytes(const std::string& path) override;

 private:
  class OpenFile;
  class Appender;
  class RandomAccess;

  struct Node {
    bool is_directory = false;
    CachedFile file;
    std::map<std::string, std::shared_ptr<Node>> entries, durable_entries;
  };
  // What lies at a path, or may be put there.
  struct Place {
    std::string path;                            // canonical
    std::string name;                            // empty for the root, and after a . or ..
    std::vector<std::shared_ptr<Node>> folders;  // from the root to the one that has the name
    std::shared_ptr<Node> node;                  // null: nothing is there
    bool wants_folder = false;                   // the path has a slash at its end
  };
  struct Edit {
    std::shared_ptr<Node> folder;
    std::string name;
    std::shared_ptr<Node> node;  // null: the entry goes
  };
  // An operation on entries that isn't durable yet.
  struct Change {
    std::vector<Edit> edits;

    std::vector<std::shared_ptr<Node>> folders() const;  // of the edits, each once
  };

  // What FileSystem::Posix() makes of the same error.
  static absl::Status ErrnoStatus(const std::string& path, absl::string_view what, int error);
  // Counts, and says why the operation must not happen. `ignored`: what the hook answered.
  absl::Status Begin(Operation::Kind kind, const std::string& path, bool* ignored = nullptr);
  absl::Status CheckOn(const std::string& path) const;
  // Errors say that the path, or `blamed` in its place, `what`.
  absl::StatusOr<Place> Resolve(const std::string& path, absl::string_view what,
                                const std::string* blamed = nullptr) const;
  // NOT_FOUND where nothing is there.
  absl::StatusOr<Place> Find(const std::string& path, absl::string_view what) const;
  absl::StatusOr<Place> FindFile(const std::string& path) const;
  absl::StatusOr<Place> FindFolder(const std::string& path) const;
  absl::StatusOr<std::shared_ptr<Node>> CreateFile(const std::string& path, Place& place);
  // Null: removes.
  void Link(const Place& place, std::shared_ptr<Node> node);
  void Commit(Change change);
  static void ApplyDurably(const Change& change);
  void CutEntries(Survival survival);
  void Settle(Node& node, Survival survival);
  static int64_t UsedBytes(const Node& folder);
  uint64_t Below(uint64_t bound) { return random_() % bound; }

  std::mt19937_64 random_;
  const std::shared_ptr<Node> root_;
  std::vector<Change> changes_;  // oldest first
  int64_t operations_ = 0;
  int64_t crash_at_ = 0;  // an index; 0: none
  int64_t fail_at_ = 0;
  absl::Status failure_;
  std::function<absl::Status(const Operation&)> fault_;
  std::function<bool(const Operation&)> ignored_;
  std::optional<int64_t> capacity_;
  bool crashed_ = false;
  int64_t restarts_ = 0;
};

}  // namespace convd

#endif  // CONVD_TESTS_SIMULATION_SIMULATED_DISK_H_
