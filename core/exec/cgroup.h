#ifndef CONVD_CORE_EXEC_CGROUP_H_
#define CONVD_CORE_EXEC_CGROUP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "core/storage/file_system.h"

namespace convd {

// The folders of this process's cgroups and of their ancestors, as far as they show: what limits
// any of them limits the process.
struct CgroupFolders {
  std::vector<std::string> v1;  // of the hierarchy that has the controller
  std::vector<std::string> v2;
};

// Reads /proc/self/mountinfo and /proc/self/cgroup under `root` ("" is the machine's own); the
// folders begin with `root`. `controller` is version 1's name: "cpu", "memory". Unreadable or
// malformed files give the conventional folders. Any thread may call.
CgroupFolders FindCgroupFolders(FileSystem& fs, const std::string& root,
                                const std::string& controller);

// The fields, between blanks and line ends, of one of the kernel's small files; none where it can't
// be read.
std::vector<std::string> ReadFields(FileSystem& fs, const std::string& path);

}  // namespace convd

#endif  // CONVD_CORE_EXEC_CGROUP_H_
