#include "server/datasets/data_dirs.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

// "." and ".." resolved by name alone; no slash at the end.
std::string Normal(const std::string& path) {
  std::string normal = std::filesystem::path(path).lexically_normal().string();
  while (normal.size() > 1 && normal.back() == '/') normal.pop_back();
  return normal;
}

bool IsIn(const std::string& path, const std::string& dir) {
  return path == dir || dir == "/" || absl::StartsWith(path, dir + "/");
}

}  // namespace

absl::StatusOr<DataDirs> DataDirs::Open(FileSystem& fs, const std::vector<std::string>& dirs,
                                        const std::string& flag) {
  DataDirs result(fs, flag);
  for (const std::string& dir : dirs) {
    absl::StatusOr<std::string> canonical = fs.Canonical(dir);
    if (!canonical.ok()) {
      return absl::Status(canonical.status().code(),
                          absl::StrCat(flag, ": ", canonical.status().message()));
    }
    if (!fs.IsDirectory(*canonical)) {
      return absl::InvalidArgumentError(absl::StrCat(flag, ": ", dir, ": is not a folder"));
    }
    if (!dir.empty() && dir[0] == '/') result.given_.push_back(Normal(dir));
    result.dirs_.push_back(*std::move(canonical));
  }
  return result;
}

bool DataDirs::Contains(const std::string& normal_path) const {
  for (const std::string& dir : dirs_) {
    if (IsIn(normal_path, dir)) return true;
  }
  return false;
}

absl::StatusOr<std::string> DataDirs::Resolve(const std::string& field,
                                              const std::string& path) const {
  const std::string shown =
      absl::StrCat(field, ": \"", absl::Utf8SafeCEscape(path.substr(0, 300)), "\"");
  const absl::Status outside = absl::PermissionDeniedError(
      absl::StrCat(shown, ": lies outside the folders that ", flag_, " allows (",
                   dirs_.empty() ? "none" : absl::StrJoin(dirs_, ", "), ")"));
  if (path.empty() || path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat(shown, ": want a file or folder"));
  }
  std::vector<std::string> candidates;
  if (path[0] == '/') {
    candidates.push_back(path);
  } else {
    for (const std::string& dir : dirs_) candidates.push_back(absl::StrCat(dir, "/", path));
  }
  bool inside_by_name = false;
  absl::Status error;
  for (const std::string& candidate : candidates) {
    const std::string normal = Normal(candidate);
    bool inside = Contains(normal);
    for (const std::string& dir : given_) inside = inside || IsIn(normal, dir);
    // Nothing is asked of the disk that would tell what lies elsewhere.
    if (!inside) continue;
    inside_by_name = true;
    absl::StatusOr<std::string> canonical = fs_->Canonical(candidate);
    if (canonical.ok()) {
      if (!Contains(*canonical)) return outside;
      return canonical;
    }
    if (error.ok() || absl::IsNotFound(error)) error = canonical.status();
  }
  if (!inside_by_name) return outside;
  if (absl::IsNotFound(error)) {
    return absl::NotFoundError(
        absl::StrCat(shown, ": there is no such file or folder in ", absl::StrJoin(dirs_, ", ")));
  }
  return absl::Status(error.code(), absl::StrCat(shown, ": ", error.message()));
}

absl::Status CheckInside(const DataDirs& allowed, const std::string& path,
                         const std::vector<SplitFiles>& files, const DataLimits& limits) {
  int64_t count = 0;
  for (size_t i = 0; i < files.size(); ++i) {
    for (const auto& [kind, names] :
         {std::pair{"images", &files[i].images}, std::pair{"labels", &files[i].labels}}) {
      for (size_t k = 0; k < names->size(); ++k) {
        if (++count > limits.files) return absl::OkStatus();  // refused for that, unseen
        const absl::Status status = allowed
                                        .Resolve(absl::StrCat("files[", i, "].", kind, "[", k, "]"),
                                                 absl::StrCat(path, "/", (*names)[k]))
                                        .status();
        if (absl::IsPermissionDenied(status)) return status;
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace convd
