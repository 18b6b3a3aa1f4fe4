#include <dirent.h>
#include <fcntl.h>
#include <fts.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"
#include "core/storage/file_system.h"
#include "core/storage/posix_call.h"

namespace convd {
namespace {

class PosixWritableFile final : public WritableFile {
 public:
  PosixWritableFile(FileDescriptor fd, std::string path)
      : fd_(std::move(fd)), path_(std::move(path)) {}

  absl::Status Append(std::string_view data) override {
    CONVD_RETURN_IF_ERROR(CheckOpen());
    while (!data.empty()) {
      const ssize_t n =
          RetryInterrupted([&] { return write(fd_.get(), data.data(), data.size()); });
      if (n < 0) return Fail("can't be written", errno);
      data.remove_prefix(static_cast<size_t>(n));
    }
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    CONVD_RETURN_IF_ERROR(CheckOpen());
    if (RetryInterrupted([&] { return fsync(fd_.get()); }) == 0) return absl::OkStatus();
    return Fail("can't be synced", errno);
  }

  absl::Status Close() override {
    if (fd_.get() < 0) return error_;
    // After EINTR the descriptor is closed on Linux; trying again could close somebody else's.
    const int fd = fd_.Release();
    if (close(fd) == 0 || errno == EINTR) return error_;
    return Fail("can't be closed", errno);
  }

 private:
  absl::Status CheckOpen() const {
    CONVD_RETURN_IF_ERROR(error_);
    if (fd_.get() >= 0) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat(Shown(path_), ": is closed"));
  }

  // The first error stays: after a failed fsync the kernel may drop what it could not write, and a
  // second one would say OK.
  absl::Status Fail(absl::string_view what, int error) {
    if (error_.ok()) error_ = ErrnoStatus(path_, what, error);
    return error_;
  }

  FileDescriptor fd_;
  const std::string path_;
  absl::Status error_;
};

class PosixMappedFile final : public MappedFile {
 public:
  PosixMappedFile(void* address, size_t size) : address_(address), size_(size) {}
  ~PosixMappedFile() override {
    if (size_ > 0) munmap(address_, size_);
  }
  std::string_view data() const override {
    return size_ == 0 ? std::string_view()
                      : std::string_view(static_cast<const char*>(address_), size_);
  }

 private:
  void* const address_;
  const size_t size_;
};

class PosixScratch final : public ScratchMemory {
 public:
  PosixScratch(void* address, size_t size) : address_(address), size_(size) {}
  ~PosixScratch() override { munmap(address_, size_); }
  char* data() override { return static_cast<char*>(address_); }

 private:
  void* const address_;
  const size_t size_;
};

FileStamp StampOf(const struct stat& info) {
  return FileStamp{info.st_size,
                   info.st_dev,
                   info.st_ino,
                   absl::TimeFromTimespec(info.st_mtim),
                   absl::TimeFromTimespec(info.st_ctim),
                   info.st_mode & 07777};
}

class PosixReadableFile final : public ReadableFile {
 public:
  PosixReadableFile(FileDescriptor fd, int64_t size, std::string path)
      : fd_(std::move(fd)), size_(size), path_(std::move(path)) {}

  int64_t size() const override { return size_; }

  absl::Status ReadAt(int64_t offset, absl::Span<char> out) override {
    while (!out.empty()) {
      const ssize_t n =
          RetryInterrupted([&] { return pread(fd_.get(), out.data(), out.size(), offset); });
      if (n < 0) return ErrnoStatus(path_, "can't be read", errno);
      if (n == 0) {
        return absl::AbortedError(absl::StrCat(Shown(path_), ": ends at ", offset,
                                               " bytes, before what is to be read: it was changed "
                                               "meanwhile, try again"));
      }
      out.remove_prefix(static_cast<size_t>(n));
      offset += n;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<FileStamp> Stamp() override {
    struct stat info;
    if (fstat(fd_.get(), &info) != 0) return ErrnoStatus(path_, "can't be examined", errno);
    return StampOf(info);
  }

 private:
  const FileDescriptor fd_;
  const int64_t size_;
  const std::string path_;
};

// A file that no name leads to, so that it goes with the last who has it open.
absl::StatusOr<FileDescriptor> OpenNameless(const std::string& folder) {
  CONVD_RETURN_IF_ERROR(CheckPath(folder));
  FileDescriptor fd(RetryInterrupted(
      [&] { return open(folder.c_str(), O_RDWR | O_TMPFILE | O_EXCL | O_CLOEXEC, 0600); }));
  if (fd.get() >= 0) return fd;
  // Some file systems want a name first.
  if (errno != EOPNOTSUPP && errno != EISDIR) return ErrnoStatus(folder, "can't be used", errno);
  std::string name = folder + "/scratch-XXXXXX";
  fd = FileDescriptor(mkostemp(name.data(), O_CLOEXEC));
  if (fd.get() < 0) return ErrnoStatus(folder, "can't be used", errno);
  if (unlink(name.c_str()) != 0) return ErrnoStatus(name, "can't be removed", errno);
  return fd;
}

struct OpenedFile {
  FileDescriptor fd;
  int64_t size = 0;
};

// For reading. Anything but a regular file is refused; without O_NONBLOCK a FIFO would block here
// until somebody writes.
absl::StatusOr<OpenedFile> OpenRegular(const std::string& path) {
  CONVD_RETURN_IF_ERROR(CheckPath(path));
  OpenedFile file;
  file.fd = FileDescriptor(RetryInterrupted(
      [&] { return open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); }));
  struct stat info;
  if (file.fd.get() < 0) {
    const int error = errno;
    // "No such device or address" for what is plainly there.
    if (error == ENXIO && stat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode)) {
      return absl::InvalidArgumentError(
          absl::StrCat(Shown(path), ": is a socket; a file is wanted"));
    }
    return ErrnoStatus(path, "can't be opened", error);
  }
  if (fstat(file.fd.get(), &info) != 0) return ErrnoStatus(path, "can't be examined", errno);
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(Shown(path), S_ISDIR(info.st_mode) ? ": is a folder; a file is wanted"
                                                        : ": is not a regular file"));
  }
  file.size = info.st_size;
  return file;
}

// Closes `directory` in any case.
absl::StatusOr<std::vector<std::string>> ReadNames(FileDescriptor directory,
                                                   const std::string& path) {
  DIR* stream = fdopendir(directory.get());
  if (stream == nullptr) return ErrnoStatus(path, "can't be listed", errno);
  directory.Release();
  absl::Cleanup close_stream = [stream] { closedir(stream); };
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* const entry = readdir(stream);
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  if (errno != 0) return ErrnoStatus(path, "can't be listed", errno);
  std::sort(names.begin(), names.end());
  return names;
}

// Removes `name` in the folder `parent`, whatever it is. Each step goes through an open folder and
// none follows a link, so that nobody can lead it elsewhere by swapping a folder for a link.
absl::Status RemoveTree(int parent, const std::string& name, const std::string& path) {
  if (unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT || errno == ENOTDIR) {
    return absl::OkStatus();
  }
  if (errno != EISDIR && errno != EPERM) return ErrnoStatus(path, "can't be removed", errno);
  const int not_a_file = errno;
  FileDescriptor folder(RetryInterrupted([&] {
    return openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  }));
  if (folder.get() < 0) {
    return ErrnoStatus(path, "can't be removed", errno == ENOTDIR ? not_a_file : errno);
  }
  FileDescriptor listed(RetryInterrupted(
      [&] { return openat(folder.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (listed.get() < 0) return ErrnoStatus(path, "can't be listed", errno);
  CONVD_ASSIGN_OR_RETURN(const std::vector<std::string> names, ReadNames(std::move(listed), path));
  for (const std::string& entry : names) {
    CONVD_RETURN_IF_ERROR(RemoveTree(folder.get(), entry, absl::StrCat(path, "/", entry)));
  }
  if (unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) {
    return absl::OkStatus();
  }
  return ErrnoStatus(path, "can't be removed", errno);
}

class PosixFileSystem final : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<WritableFile>> Create(const std::string& path) override {
    CONVD_RETURN_IF_ERROR(CheckPath(path));
    constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    FileDescriptor fd(RetryInterrupted([&] { return open(path.c_str(), kFlags, 0644); }));
    if (fd.get() < 0) return ErrnoStatus(path, "can't be created", errno);
    return std::make_unique<PosixWritableFile>(std::move(fd), path);
  }

  absl::StatusOr<std::unique_ptr<WritableFile>> OpenToAppend(const std::string& path) override {
    CONVD_RETURN_IF_ERROR(CheckPath(path));
    constexpr int kFlags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    FileDescriptor fd(RetryInterrupted([&] { return open(path.c_str(), kFlags); }));
    if (fd.get() < 0) return ErrnoStatus(path, "can't be opened", errno);
    struct stat info;
    if (fstat(fd.get(), &info) != 0) return ErrnoStatus(path, "can't be examined", errno);
    if (!S_ISREG(info.st_mode)) {
      return absl::InvalidArgumentError(absl::StrCat(Shown(path), ": is not a regular file"));
    }
    return std::make_unique<PosixWritableFile>(std::move(fd), path);
  }

  absl::StatusOr<std::string> Read(const std::string& path, int64_t limit) override {
    CONVD_ASSIGN_OR_RETURN(const OpenedFile file, OpenRegular(path));
    limit = std::max<int64_t>(limit, 0);
    if (file.size > limit) {
      return absl::ResourceExhaustedError(
          absl::StrCat(Shown(path), ": has ", file.size, " bytes; the limit is ", limit));
    }
    // The size is a hint: files of /proc and /sys say 0 or 4096, and others grow meanwhile.
    constexpr int64_t kLeast = 4096;
    std::string data;
    try {
      size_t used = 0;
      while (true) {
        const int64_t want =
            used == 0 ? std::max(file.size + 1, kLeast) : 2 * static_cast<int64_t>(data.size());
        // One more than the limit shows that there is more.
        data.resize(static_cast<size_t>(std::min(want, limit < want ? limit + 1 : want)));
        while (used < data.size()) {
          const ssize_t n = RetryInterrupted(
              [&] { return read(file.fd.get(), data.data() + used, data.size() - used); });
          if (n < 0) return ErrnoStatus(path, "can't be read", errno);
          if (n == 0) {
            data.resize(used);
            return data;
          }
          used += static_cast<size_t>(n);
        }
        if (static_cast<int64_t>(used) > limit) {
          return absl::ResourceExhaustedError(
              absl::StrCat(Shown(path), ": has more bytes than the limit of ", limit));
        }
      }
    } catch (const std::exception&) {  // bad_alloc, length_error
      return absl::ResourceExhaustedError(
          absl::StrCat(Shown(path), ": no memory for its ", file.size, " bytes"));
    }
  }

  absl::StatusOr<std::unique_ptr<MappedFile>> Map(const std::string& path) override {
    CONVD_ASSIGN_OR_RETURN(const OpenedFile file, OpenRegular(path));
    void* address = nullptr;
    if (file.size > 0) {
      address =
          mmap(nullptr, static_cast<size_t>(file.size), PROT_READ, MAP_SHARED, file.fd.get(), 0);
      if (address == MAP_FAILED) return ErrnoStatus(path, "can't be mapped", errno);
    }
    return std::make_unique<PosixMappedFile>(address, static_cast<size_t>(file.size));
  }

  absl::StatusOr<std::unique_ptr<ReadableFile>> Open(const std::string& path) override {
    CONVD_ASSIGN_OR_RETURN(OpenedFile file, OpenRegular(path));
    return std::make_unique<PosixReadableFile>(std::move(file.fd), file.size, path);
  }

  absl::StatusOr<std::unique_ptr<ScratchMemory>> MapScratch(const std::string& folder,
                                                            int64_t bytes) override {
    CONVD_ASSIGN_OR_RETURN(const FileDescriptor fd, OpenNameless(folder));
    const std::string what = absl::StrCat("has no room for ", bytes, " bytes");
    // Else some file systems take all that there is before they say that it isn't enough.
    CONVD_ASSIGN_OR_RETURN(const int64_t free, FreeBytes(folder));
    if (bytes > free) return ErrnoStatus(folder, what, ENOSPC);
    int error = EINTR;
    while (error == EINTR) error = posix_fallocate(fd.get(), 0, bytes);
    if (error != 0) return ErrnoStatus(folder, what, error);
    const size_t size = static_cast<size_t>(bytes);
    void* const address = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (address == MAP_FAILED) return ErrnoStatus(folder, what, errno);
    return std::make_unique<PosixScratch>(address, size);
  }

  absl::StatusOr<int64_t> Size(const std::string& path) override {
    CONVD_RETURN_IF_ERROR(CheckPath(path));
    struct stat info;
    if (stat(path.c_str(), &info) != 0) return ErrnoStatus(path, "can't be examined", errno);
    return int64_t{info.st_size};
  }

  absl::StatusOr<PathInfo> Examine(const std::string& path) override {
    CONVD_RETURN_IF_ERROR(CheckPath(path));
    struct stat info;
    if (lstat(path.c_str(), &info) != 0) return ErrnoStatus(path, "can't be examined", errno);
    if (S_ISDIR(info.st_mode)) return PathInfo{PathInfo::Kind::kFolder, 0};
    if (S_ISREG(info.st_mode)) return PathInfo{PathInfo::Kind::kFile, int64_t{info.st_size}};
    return PathInfo{PathInfo::Kind::kOther, 0};
  }

  absl::StatusOr<FileStamp> Stamp(const std::string& path) override {
    CONVD_RETURN_IF_ERROR(CheckPath(path));
    struct stat info;
    if (stat(path.c_str(), &info) != 0) return ErrnoStatus(path, "can't be examined", errno);
    return StampOf(info);
  }

  bool Exists(const std::string& path) override {
    struct stat info;
    return CheckPath(path).ok() && stat(path.c_str(), &info) == 0;
  }

  bool IsDirectory(const std::string& path) override {
    struct stat info;
    return CheckPath(path).ok() && stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override {
    CONVD_ASSIGN_OR_RETURN(FileDescriptor folder, OpenFolder(path));
    return ReadNames(std::move(folder), path);
  }

  absl::Status CreateDirectories(const std::string& path) override {
    CONVD_RETURN_IF_ERROR(CheckPath(path));
    for (size_t end = 0; end != std::string::npos;) {
      end = path.find('/', end + 1);
      const std::string folder = path.substr(0, end);
      if (mkdir(folder.c_str(), 0755) == 0) continue;
      const int error = errno;
      // A folder that can't be made because the disk is read-only, say, may be there already.
      if (IsDirectory(folder)) continue;
      if (error == EEXIST || error == ENOTDIR) {
        return absl::AlreadyExistsError(
            absl::StrCat(Shown(folder), ": is not a folder; one is wanted there"));
      }
      return ErrnoStatus(folder, "can't be created", error);
    }
    return absl::OkStatus();
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    CONVD_RETURN_IF_ERROR(CheckPath(from));
    CONVD_RETURN_IF_ERROR(CheckPath(to));
    if (rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
    return ErrnoStatus(from, absl::StrCat("can't be renamed to ", Shown(to)), errno);
  }

  absl::Status Remove(const std::string& path) override {
    CONVD_RETURN_IF_ERROR(CheckPath(path));
    if (remove(path.c_str()) == 0) return absl::OkStatus();
    return ErrnoStatus(path, "can't be removed", errno);
  }

  absl::Status RemoveAll(const std::string& path) override {
    CONVD_RETURN_IF_ERROR(CheckPath(path));
    // With a slash at its end the path would be what a link leads to.
    std::string name = path;
    while (name.size() > 1 && name.back() == '/') name.pop_back();
    return RemoveTree(AT_FDCWD, name, name);
  }

  absl::Status SyncDirectory(const std::string& path) override {
    CONVD_ASSIGN_OR_RETURN(const FileDescriptor folder, OpenFolder(path));
    // EINVAL: a file system that can't, and has nothing to sync.
    if (RetryInterrupted([&] { return fsync(folder.get()); }) == 0 || errno == EINVAL) {
      return absl::OkStatus();
    }
    return ErrnoStatus(path, "can't be synced", errno);
  }

  absl::StatusOr<std::string> Canonical(const std::string& path) override {
    CONVD_RETURN_IF_ERROR(CheckPath(path));
    char* const resolved = realpath(path.c_str(), nullptr);
    if (resolved == nullptr) return ErrnoStatus(path, "can't be resolved", errno);
    absl::Cleanup release = [resolved] { std::free(resolved); };
    return std::string(resolved);
  }

  absl::StatusOr<int64_t> TreeBytes(const std::string& path) override {
    CONVD_RETURN_IF_ERROR(CheckPath(path));
    // Of what lies there, not of what a link there leads to.
    std::string name = path;
    char* const roots[] = {name.data(), nullptr};
    FTS* const tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, nullptr);
    if (tree == nullptr) return ErrnoStatus(path, "can't be examined", errno);
    absl::Cleanup close_tree = [tree] { fts_close(tree); };
    constexpr int64_t kBlock = 512;  // whatever the file system's are
    int64_t bytes = 0;
    while (true) {
      errno = 0;
      const FTSENT* const entry = fts_read(tree);
      if (entry == nullptr) break;
      switch (entry->fts_info) {
        case FTS_DP:  // counted on the way in
          break;
        case FTS_NS:
        case FTS_ERR:
          // What is removed meanwhile takes nothing.
          if (entry->fts_level > FTS_ROOTLEVEL && entry->fts_errno == ENOENT) break;
          return ErrnoStatus(entry->fts_path, "can't be examined", entry->fts_errno);
        case FTS_DNR:  // its own blocks are known
        default:
          bytes += kBlock * int64_t{entry->fts_statp->st_blocks};
      }
    }
    if (errno != 0) return ErrnoStatus(path, "can't be examined", errno);
    return bytes;
  }

  absl::StatusOr<int64_t> FreeBytes(const std::string& path) override {
    CONVD_RETURN_IF_ERROR(CheckPath(path));
    struct statvfs info;
    if (RetryInterrupted([&] { return statvfs(path.c_str(), &info); }) != 0) {
      return ErrnoStatus(path, "can't be examined", errno);
    }
    // Some file systems say that there is no end of blocks.
    const uint64_t size = std::max<uint64_t>(1, info.f_frsize);
    const uint64_t most = static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) / size;
    return static_cast<int64_t>(size * std::min<uint64_t>(info.f_bavail, most));
  }

 private:
  static absl::StatusOr<FileDescriptor> OpenFolder(const std::string& path) {
    CONVD_RETURN_IF_ERROR(CheckPath(path));
    FileDescriptor folder(
        RetryInterrupted([&] { return open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
    if (folder.get() >= 0) return folder;
    if (errno == ENOTDIR) {
      struct stat info;
      if (stat(path.c_str(), &info) == 0) {
        return absl::InvalidArgumentError(
            absl::StrCat(Shown(path), ": is not a folder; one is wanted"));
      }
      errno = ENOTDIR;
    }
    return ErrnoStatus(path, "can't be opened", errno);
  }
};

}  // namespace

FileSystem& FileSystem::Posix() {
  static PosixFileSystem* const file_system = new PosixFileSystem;
  return *file_system;
}

}  // namespace convd
