#include "client/convctl/local_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "client/convctl/exit_code.h"
#include "core/status/status_macros.h"

namespace convd {

namespace fs = std::filesystem;

absl::StatusOr<std::string> ReadLocalFile(const std::string& path, int64_t limit) {
  std::error_code error;
  if (fs::is_directory(path, error)) {
    return UsageError(absl::StrCat(path, ": is a folder; a file is wanted"));
  }
  FILE* const file = std::fopen(path.c_str(), "rbe");
  if (file == nullptr) return UsageError(absl::StrCat(path, ": ", std::strerror(errno)));
  std::string data;
  char buffer[1 << 16];
  size_t count = 0;
  while (static_cast<int64_t>(data.size()) <= limit &&
         (count = std::fread(buffer, 1, sizeof(buffer), file)) > 0) {
    data.append(buffer, count);
  }
  const bool failed = std::ferror(file) != 0;
  std::fclose(file);
  if (failed) return UsageError(absl::StrCat(path, ": can't be read"));
  if (static_cast<int64_t>(data.size()) > limit) {
    return UsageError(absl::StrCat(path, ": is larger than ", limit, " bytes"));
  }
  return data;
}

absl::StatusOr<std::vector<LocalFile>> FilesToUpload(const std::vector<std::string>& paths) {
  std::vector<LocalFile> files;
  for (const std::string& path : paths) {
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (!fs::exists(status)) return UsageError(absl::StrCat(path, ": no such file or folder"));
    if (!fs::is_directory(status)) {
      if (!fs::is_regular_file(status)) {
        return UsageError(absl::StrCat(path, ": is not a regular file"));
      }
      files.push_back({fs::path(path).filename().string(), path});
      continue;
    }
    std::vector<LocalFile> found;
    bool folders = false;
    fs::directory_iterator entry(path, error);
    for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
      const std::string name = entry->path().filename().string();
      std::error_code ignored;
      if (name[0] != '.' && entry->is_directory(ignored)) folders = true;
      if (name[0] == '.' || !entry->is_regular_file(ignored)) continue;
      found.push_back({name, entry->path().string()});
    }
    if (error) return UsageError(absl::StrCat(path, ": ", error.message()));
    if (found.empty() && folders) {
      return UsageError(absl::StrCat(path,
                                     ": holds folders and no files; zip it, or pack it as a "
                                     ".tar.gz, and upload that"));
    }
    if (found.empty()) return UsageError(absl::StrCat(path, ": holds no files"));
    std::sort(found.begin(), found.end(),
              [](const LocalFile& a, const LocalFile& b) { return a.name < b.name; });
    files.insert(files.end(), found.begin(), found.end());
  }
  std::map<std::string, std::string> seen;
  for (const LocalFile& file : files) {
    const auto [at, added] = seen.emplace(file.name, file.path);
    if (!added) {
      return UsageError(absl::StrCat(file.path, ": has the same name as ", at->second,
                                     "; a dataset's files lie in one folder"));
    }
  }
  return files;
}

}  // namespace convd
