#ifndef CONVD_TESTS_SIMULATION_DISK_VFS_H_
#define CONVD_TESTS_SIMULATION_DISK_VFS_H_

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/time/clock.h"
#include "tests/simulation/simulated_disk.h"

namespace convd {

// What SQLite needs of a machine, on a simulated disk: sqlite3_open_v2(path, &db, flags, name()).
// It syncs files and folders where SQLite's own "unix" VFS would, and nowhere else. There is no
// shared memory, so WAL wants PRAGMA locking_mode=EXCLUSIVE before journal_mode. Also seeds what
// SQLite draws at random, for the whole process. Disk and clock must outlive it, and it its
// databases. One thread.
class DiskVfs {
 public:
  DiskVfs(SimulatedDisk& disk, const Clock& clock, uint64_t seed);
  ~DiskVfs();  // unregisters
  DiskVfs(const DiskVfs&) = delete;
  DiskVfs& operator=(const DiskVfs&) = delete;

  const char* name() const { return name_.c_str(); }

 private:
  struct Methods;
  struct File;

  SimulatedDisk& disk_;
  const Clock& clock_;
  std::mt19937_64 random_;
  const std::string name_;
  sqlite3_vfs vfs_ = {};
  std::vector<File*> open_;  // each owned by the connection that has it open
  int64_t temporary_files_ = 0;
};

}  // namespace convd

#endif  // CONVD_TESTS_SIMULATION_DISK_VFS_H_
