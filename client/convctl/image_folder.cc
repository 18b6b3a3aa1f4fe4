#include "client/convctl/image_folder.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/convctl/exit_code.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

constexpr size_t kMostImages = 10'000'000;  // links can make a small tree endless in width
constexpr size_t kMostFolders = 64;         // in one another

bool HasImageName(const std::string& name) {
  const std::string lower = absl::AsciiStrToLower(name);
  return absl::EndsWith(lower, ".png") || absl::EndsWith(lower, ".jpg") ||
         absl::EndsWith(lower, ".jpeg");
}

class Walk {
 public:
  // An errno, or 0.
  int Folder(const std::string& path, const struct stat& about) {
    DIR* const folder = opendir(path.c_str());
    if (folder == nullptr) return errno;
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* const entry = readdir(folder)) {
      if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
    }
    const int error = errno;
    closedir(folder);
    if (error != 0) return error;
    std::sort(names.begin(), names.end());
    above_.emplace_back(about.st_dev, about.st_ino);
    const std::string prefix = absl::EndsWith(path, "/") ? path : path + "/";
    for (const std::string& name : names) Entry(prefix + name, name);
    above_.pop_back();
    return 0;
  }

  std::vector<FolderImage> images;

 private:
  void Entry(std::string path, const std::string& name) {
    if (images.size() > kMostImages) return;
    struct stat about;
    if (stat(path.c_str(), &about) != 0) {
      const int error = errno;
      // Of other names nobody knows whether they would be images.
      if (HasImageName(name) || error == ELOOP) Fail(std::move(path), std::strerror(error));
      return;
    }
    if (!S_ISDIR(about.st_mode)) {
      if (!HasImageName(name)) return;
      if (S_ISREG(about.st_mode)) {
        images.push_back({std::move(path), ""});
      } else {
        Fail(std::move(path), "is no regular file");
      }
      return;
    }
    if (std::find(above_.begin(), above_.end(), std::make_pair(about.st_dev, about.st_ino)) !=
        above_.end()) {
      return Fail(std::move(path), "is a link to a folder that it lies in");
    }
    if (above_.size() >= kMostFolders) return Fail(std::move(path), "lies too deep");
    const int error = Folder(path, about);
    if (error != 0) Fail(std::move(path), std::strerror(error));
  }
  void Fail(std::string path, const char* why) { images.push_back({std::move(path), why}); }

  std::vector<std::pair<dev_t, ino_t>> above_;
};

}  // namespace

absl::StatusOr<std::vector<FolderImage>> FindImages(const std::string& folder) {
  struct stat about;
  Walk walk;
  int error = stat(folder.c_str(), &about) != 0 ? errno : 0;
  if (error == 0) error = S_ISDIR(about.st_mode) ? walk.Folder(folder, about) : ENOTDIR;
  if (error != 0) return UsageError(absl::StrCat("--dir ", folder, ": ", std::strerror(error)));
  if (walk.images.empty()) {
    return UsageError(
        absl::StrCat("--dir ", folder, ": has no files named *.png, *.jpg or *.jpeg"));
  }
  if (walk.images.size() > kMostImages) {
    return UsageError(absl::StrCat("--dir ", folder, ": has more than ", kMostImages,
                                   " images; score its folders one by one"));
  }
  return std::move(walk.images);
}

}  // namespace convd
