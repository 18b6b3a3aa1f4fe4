#include "tests/simulation/disk_vfs.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace convd {
namespace {

std::string UniqueName() {
  static int64_t count = 0;
  return absl::StrCat("simulated-disk-", ++count);
}

std::string FolderOf(const std::string& path) {
  return path.substr(0, std::max<size_t>(path.rfind('/'), 1));
}

int WriteResult(const absl::Status& status) {
  if (status.ok()) return SQLITE_OK;
  return absl::IsResourceExhausted(status) ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

}  // namespace

struct DiskVfs::File {
  DiskVfs* vfs = nullptr;
  std::string path;
  std::unique_ptr<RandomAccessFile> file;
  // The next sync is to sync the folder too.
  bool sync_folder = false;
  int lock = SQLITE_LOCK_NONE;
};

// What SQLite calls. Results are those of its unix VFS.
struct DiskVfs::Methods {
  // SQLite allocates this much, and gives it back uninitialized to xOpen.
  struct Handle {
    sqlite3_file base;
    File* file;
  };

  static File& Of(sqlite3_file* file) { return *reinterpret_cast<Handle*>(file)->file; }
  static DiskVfs& Of(sqlite3_vfs* vfs) { return *static_cast<DiskVfs*>(vfs->pAppData); }

  static int Close(sqlite3_file* handle) {
    File* const file = &Of(handle);
    std::vector<File*>& open = file->vfs->open_;
    open.erase(std::find(open.begin(), open.end(), file));
    delete file;
    return SQLITE_OK;
  }

  static int Read(sqlite3_file* handle, void* out, int size, sqlite3_int64 offset) {
    const absl::StatusOr<std::string> data = Of(handle).file->ReadAt(offset, size);
    if (!data.ok()) return SQLITE_IOERR_READ;
    std::memcpy(out, data->data(), data->size());
    if (data->size() == static_cast<size_t>(size)) return SQLITE_OK;
    std::memset(static_cast<char*>(out) + data->size(), 0,
                static_cast<size_t>(size) - data->size());
    return SQLITE_IOERR_SHORT_READ;
  }

  static int Write(sqlite3_file* handle, const void* data, int size, sqlite3_int64 offset) {
    const std::string_view bytes(static_cast<const char*>(data), static_cast<size_t>(size));
    return WriteResult(Of(handle).file->WriteAt(offset, bytes));
  }

  static int Truncate(sqlite3_file* handle, sqlite3_int64 size) {
    return Of(handle).file->Truncate(size).ok() ? SQLITE_OK : SQLITE_IOERR_TRUNCATE;
  }

  static int Sync(sqlite3_file* handle, int) {
    File& file = Of(handle);
    if (!file.file->Sync().ok()) return SQLITE_IOERR_FSYNC;
    if (std::exchange(file.sync_folder, false)) {
      // The unix VFS doesn't look at how this one went, and doesn't try again.
      file.vfs->disk_.SyncDirectory(FolderOf(file.path)).IgnoreError();
    }
    return SQLITE_OK;
  }

  static int FileSize(sqlite3_file* handle, sqlite3_int64* size) {
    const absl::StatusOr<int64_t> answer = Of(handle).file->Size();
    if (!answer.ok()) return SQLITE_IOERR_FSTAT;
    // So does the unix VFS, for files that some systems can't have empty.
    *size = *answer == 1 ? 0 : *answer;
    return SQLITE_OK;
  }

  // The highest lock that another connection has on the file.
  static int OthersLock(const File& file) {
    int lock = SQLITE_LOCK_NONE;
    for (const File* other : file.vfs->open_) {
      if (other != &file && other->path == file.path) lock = std::max(lock, other->lock);
    }
    return lock;
  }

  static int Lock(sqlite3_file* handle, int wanted) {
    File& file = Of(handle);
    if (file.lock >= wanted) return SQLITE_OK;
    const int others = OthersLock(file);
    if (wanted == SQLITE_LOCK_SHARED ? others >= SQLITE_LOCK_PENDING
                                     : others >= SQLITE_LOCK_RESERVED) {
      return SQLITE_BUSY;
    }
    if (wanted == SQLITE_LOCK_EXCLUSIVE && others == SQLITE_LOCK_SHARED) {
      // No new readers, until those that are there have gone.
      file.lock = SQLITE_LOCK_PENDING;
      return SQLITE_BUSY;
    }
    file.lock = wanted;
    return SQLITE_OK;
  }

  static int Unlock(sqlite3_file* handle, int wanted) {
    File& file = Of(handle);
    file.lock = std::min(file.lock, wanted);
    return SQLITE_OK;
  }

  static int CheckReservedLock(sqlite3_file* handle, int* reserved) {
    const File& file = Of(handle);
    *reserved = std::max(file.lock, OthersLock(file)) >= SQLITE_LOCK_RESERVED ? 1 : 0;
    return SQLITE_OK;
  }

  static int FileControl(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
  static int SectorSize(sqlite3_file*) { return static_cast<int>(CachedFile::kSector); }
  static int DeviceCharacteristics(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

  static const sqlite3_io_methods* Io() {
    static const sqlite3_io_methods methods = [] {
      sqlite3_io_methods io = {};
      io.iVersion = 1;
      io.xClose = Close;
      io.xRead = Read;
      io.xWrite = Write;
      io.xTruncate = Truncate;
      io.xSync = Sync;
      io.xFileSize = FileSize;
      io.xLock = Lock;
      io.xUnlock = Unlock;
      io.xCheckReservedLock = CheckReservedLock;
      io.xFileControl = FileControl;
      io.xSectorSize = SectorSize;
      io.xDeviceCharacteristics = DeviceCharacteristics;
      return io;
    }();
    return &methods;
  }

  static int Open(sqlite3_vfs* base, const char* name, sqlite3_file* handle, int flags,
                  int* out_flags) {
    DiskVfs& vfs = Of(base);
    handle->pMethods = nullptr;
    const std::string path =
        name != nullptr ? name : absl::StrCat("/etilqs_", ++vfs.temporary_files_);
    const bool create = (flags & SQLITE_OPEN_CREATE) != 0;
    if (create && (flags & SQLITE_OPEN_EXCLUSIVE) != 0 && vfs.disk_.Exists(path)) {
      return SQLITE_CANTOPEN;
    }
    absl::StatusOr<std::unique_ptr<RandomAccessFile>> file =
        vfs.disk_.OpenRandomAccess(path, create);
    if (!file.ok()) return SQLITE_CANTOPEN;
    if ((flags & SQLITE_OPEN_DELETEONCLOSE) != 0) vfs.disk_.Remove(path).IgnoreError();
    auto opened = std::make_unique<File>();
    opened->vfs = &vfs;
    opened->path = path;
    opened->file = *std::move(file);
    // Whether it was there before or not; but never for the database itself.
    constexpr int kJournals =
        SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL | SQLITE_OPEN_WAL;
    opened->sync_folder = create && (flags & kJournals) != 0;
    vfs.open_.push_back(opened.get());
    reinterpret_cast<Handle*>(handle)->file = opened.release();
    handle->pMethods = Io();
    if (out_flags != nullptr) *out_flags = flags;
    return SQLITE_OK;
  }

  static int Delete(sqlite3_vfs* base, const char* name, int sync_folder) {
    SimulatedDisk& disk = Of(base).disk_;
    const absl::Status status = disk.Remove(name);
    if (absl::IsNotFound(status)) return SQLITE_IOERR_DELETE_NOENT;
    if (!status.ok()) return SQLITE_IOERR_DELETE;
    if ((sync_folder & 1) != 0 && !disk.SyncDirectory(FolderOf(name)).ok()) {
      return SQLITE_IOERR_DIR_FSYNC;
    }
    return SQLITE_OK;
  }

  static int Access(sqlite3_vfs* base, const char* name, int flags, int* result) {
    SimulatedDisk& disk = Of(base).disk_;
    // To SQLite an empty file isn't there.
    const absl::StatusOr<int64_t> size = disk.Size(name);
    *result = size.ok() && (flags != SQLITE_ACCESS_EXISTS || *size > 0) ? 1 : 0;
    return SQLITE_OK;
  }

  static int FullPathname(sqlite3_vfs*, const char* name, int size, char* out) {
    const std::string path = (std::filesystem::path("/") / name).lexically_normal().string();
    if (path.size() >= static_cast<size_t>(size)) return SQLITE_CANTOPEN;
    std::memcpy(out, path.c_str(), path.size() + 1);
    return SQLITE_OK;
  }

  static int Randomness(sqlite3_vfs* base, int size, char* out) {
    DiskVfs& vfs = Of(base);
    std::generate(out, out + size, [&vfs] { return static_cast<char>(vfs.random_()); });
    return size;
  }

  static int Sleep(sqlite3_vfs*, int microseconds) { return microseconds; }

  static int CurrentTimeInt64(sqlite3_vfs* base, sqlite3_int64* out) {
    // Milliseconds from noon, 24 November 4714 BC (Gregorian), to 1970.
    constexpr int64_t kUnixEpoch = 210866760000000;
    *out = kUnixEpoch + absl::ToUnixMillis(Of(base).clock_.Now());
    return SQLITE_OK;
  }

  static int CurrentTime(sqlite3_vfs* base, double* out) {
    constexpr double kDay = 86400000.0;
    sqlite3_int64 milliseconds = 0;
    CurrentTimeInt64(base, &milliseconds);
    *out = static_cast<double>(milliseconds) / kDay;
    return SQLITE_OK;
  }

  static int GetLastError(sqlite3_vfs*, int, char*) { return 0; }
};

DiskVfs::DiskVfs(SimulatedDisk& disk, const Clock& clock, uint64_t seed)
    : disk_(disk), clock_(clock), random_(seed), name_(UniqueName()) {
  constexpr int kLongestPath = 512;
  vfs_.iVersion = 2;
  vfs_.szOsFile = sizeof(Methods::Handle);
  vfs_.mxPathname = kLongestPath;
  vfs_.zName = name_.c_str();
  vfs_.pAppData = this;
  vfs_.xOpen = Methods::Open;
  vfs_.xDelete = Methods::Delete;
  vfs_.xAccess = Methods::Access;
  vfs_.xFullPathname = Methods::FullPathname;
  vfs_.xRandomness = Methods::Randomness;
  vfs_.xSleep = Methods::Sleep;
  vfs_.xCurrentTime = Methods::CurrentTime;
  vfs_.xGetLastError = Methods::GetLastError;
  vfs_.xCurrentTimeInt64 = Methods::CurrentTimeInt64;
  sqlite3_initialize();
  // SQLite seeds its generator, which the WAL's salts come from, from the default VFS, once.
  sqlite3_vfs_register(&vfs_, 1);
  sqlite3_randomness(0, nullptr);
  char drawn = 0;
  sqlite3_randomness(1, &drawn);
  sqlite3_vfs_register(&vfs_, 0);
}

DiskVfs::~DiskVfs() { sqlite3_vfs_unregister(&vfs_); }

}  // namespace convd
