#include "core/exec/cgroup.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace convd {
namespace {

// A node of a Kubernetes cluster has thousands of mounts of some 200 bytes; the others are a line.
constexpr int64_t kMaxMountInfoBytes = 16 << 20;
constexpr int64_t kMaxFileBytes = 1 << 16;

std::string ReadOrEmpty(FileSystem& fs, const std::string& path, int64_t limit) {
  absl::StatusOr<std::string> text = fs.Read(path, limit);
  return text.ok() ? *std::move(text) : std::string();
}

std::vector<std::string> Fields(absl::string_view line) {
  return absl::StrSplit(line, absl::ByAnyChar(" \t\n"), absl::SkipEmpty());
}

bool HasItem(absl::string_view comma_separated, absl::string_view item) {
  for (absl::string_view other : absl::StrSplit(comma_separated, ',')) {
    if (other == item) return true;
  }
  return false;
}

// mountinfo writes blanks and backslashes as \ooo.
std::string Unescape(absl::string_view text) {
  const auto is_octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && is_octal(text[i + 1]) && is_octal(text[i + 2]) &&
        is_octal(text[i + 3])) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                 (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// A place where a hierarchy of cgroups can be read: `root` is the cgroup that shows at `point`.
struct Mount {
  std::string root;
  std::string point;
};

struct Hierarchies {
  std::vector<Mount> v1;
  std::vector<Mount> v2;
};

// A line: ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG...] - TYPE SOURCE SUPEROPTIONS
Hierarchies FindMounts(const std::string& mountinfo, const std::string& controller) {
  Hierarchies found;
  for (absl::string_view line : absl::StrSplit(mountinfo, '\n')) {
    const std::vector<std::string> fields = Fields(line);
    const auto dash = std::find(fields.begin(), fields.end(), "-");
    if (dash - fields.begin() < 6 || fields.end() - dash < 3) continue;
    const std::string& type = dash[1];
    Mount mount{Unescape(fields[3]), Unescape(fields[4])};
    if (type == "cgroup2") {
      found.v2.push_back(std::move(mount));
    } else if (type == "cgroup" && HasItem(fields.back(), controller)) {
      found.v1.push_back(std::move(mount));
    }
  }
  return found;
}

// Where the cgroup files lie on every distribution since 2013, for sandboxes that hide mountinfo.
Hierarchies ConventionalMounts(const std::string& controller) {
  std::vector<Mount> v1 = {{"/", "/sys/fs/cgroup/" + controller}};
  if (controller == "cpu") v1.push_back({"/", "/sys/fs/cgroup/cpu,cpuacct"});
  return {std::move(v1), {{"/", "/sys/fs/cgroup"}, {"/", "/sys/fs/cgroup/unified"}}};
}

// This process's cgroup in the hierarchy of a controller; "/" where it isn't told.
struct OwnCgroups {
  std::string v1 = "/";
  std::string v2 = "/";
};

// A line: HIERARCHY:CONTROLLER,...:PATH, where version 2 is hierarchy 0 with no controller.
OwnCgroups ParseOwnCgroups(const std::string& text, const std::string& controller) {
  OwnCgroups own;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3 || parts[2].empty() || parts[2][0] != '/') continue;
    if (parts[0] == "0" && parts[1].empty()) {
      own.v2 = parts[2];
    } else if (HasItem(parts[1], controller)) {
      own.v1 = parts[2];
    }
  }
  return own;
}

// `cgroup` below `mount`'s root: "" for the root itself, else "/a/b". False where it isn't below
// it.
bool BelowRoot(const Mount& mount, const std::string& cgroup, std::string* below) {
  const std::string root = mount.root == "/" ? "" : mount.root;
  if (cgroup.compare(0, root.size(), root) != 0) return false;
  std::string rest = cgroup.substr(root.size());
  if (rest == "/") rest.clear();
  if (!rest.empty() && rest[0] != '/') return false;
  // A process outside its cgroup namespace shows as /../..; those folders can't be reached here.
  for (absl::string_view part : absl::StrSplit(rest, '/')) {
    if (part == "..") return false;
  }
  *below = std::move(rest);
  return true;
}

// The folders of a process's cgroup and of its ancestors, as far as they show. Inside a container
// the path may be one of the host's while only the container's own cgroup is mounted: then that is
// all there is to read.
std::vector<std::string> Folders(const std::vector<Mount>& mounts, const std::string& cgroup) {
  std::vector<std::string> folders;
  for (const Mount& mount : mounts) {
    std::string below;
    if (!BelowRoot(mount, cgroup, &below)) continue;
    while (!below.empty()) {
      folders.push_back(mount.point + below);
      below.resize(below.rfind('/'));
    }
    folders.push_back(mount.point);
  }
  if (folders.empty()) {
    for (const Mount& mount : mounts) folders.push_back(mount.point);
  }
  return folders;
}

}  // namespace

CgroupFolders FindCgroupFolders(FileSystem& fs, const std::string& root,
                                const std::string& controller) {
  const std::string mountinfo = ReadOrEmpty(fs, root + "/proc/self/mountinfo", kMaxMountInfoBytes);
  const Hierarchies mounts =
      mountinfo.empty() ? ConventionalMounts(controller) : FindMounts(mountinfo, controller);
  const OwnCgroups own =
      ParseOwnCgroups(ReadOrEmpty(fs, root + "/proc/self/cgroup", kMaxFileBytes), controller);
  CgroupFolders found{Folders(mounts.v1, own.v1), Folders(mounts.v2, own.v2)};
  for (std::string& folder : found.v1) folder.insert(0, root);
  for (std::string& folder : found.v2) folder.insert(0, root);
  return found;
}

std::vector<std::string> ReadFields(FileSystem& fs, const std::string& path) {
  return Fields(ReadOrEmpty(fs, path, kMaxFileBytes));
}

}  // namespace convd
