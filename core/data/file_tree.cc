#include "core/data/file_tree.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/data/file_bytes.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

constexpr size_t kMaxPathBytes = 1024;
constexpr size_t kMaxShown = 200;

std::string ShownPath(std::string_view path) {
  return absl::Utf8SafeCEscape(absl::string_view(path.data(), std::min(path.size(), kMaxShown)));
}

class FolderTree final : public FileTree {
 public:
  FolderTree(FileSystem& fs, const std::vector<TreeFile>& files, int64_t file_bytes)
      : fs_(fs), files_(files), file_bytes_(file_bytes) {
    for (const TreeFile& file : files) paths_.push_back(file.within);
  }

  absl::Status Read(size_t i, Use use) override {
    const absl::StatusOr<std::string> bytes =
        ReadFileText(fs_, files_[i].path, files_[i].path, file_bytes_);
    if (bytes.ok()) return use(*bytes);
    return absl::Status(bytes.status().code(),
                        absl::StrCat(Shown(i), ": ", bytes.status().message()));
  }

 private:
  FileSystem& fs_;
  const std::vector<TreeFile>& files_;
  const int64_t file_bytes_;
};

struct Lister {
  FileSystem& fs;
  const std::string& name;
  const int max_depth;
  const ResolvePath& resolve;
  const DataLimits& limits;
  std::vector<TreeFile> files;

  // `within` is "" or ends with a slash.
  absl::Status List(const std::string& folder, const std::string& within, int depth) {
    CONVD_ASSIGN_OR_RETURN(const std::vector<std::string> entries, fs.List(folder));
    for (const std::string& entry : entries) {
      if (!IsVisibleName(entry)) continue;
      const std::string path = within + entry;
      const std::string shown = ShownPath(path);
      CONVD_RETURN_IF_ERROR(CheckTreePath(shown, path));
      CONVD_ASSIGN_OR_RETURN(std::string real, resolve(shown, absl::StrCat(folder, "/", entry)));
      if (!fs.IsDirectory(real)) {
        if (static_cast<int64_t>(files.size()) >= limits.image_files) {
          return absl::InvalidArgumentError(absl::StrCat(
              name, ": has more than ", limits.image_files, " files, which is the limit"));
        }
        files.push_back({std::move(real), path});
        continue;
      }
      if (depth == max_depth) {
        return absl::InvalidArgumentError(
            absl::StrCat(shown,
                         ": is a folder too deep; want images in CLASS/FILE or "
                         "SPLIT/CLASS/FILE, and no folders below a class"));
      }
      CONVD_RETURN_IF_ERROR(List(real, path + "/", depth + 1));
    }
    return absl::OkStatus();
  }
};

}  // namespace

std::string FileTree::Shown(size_t i) const { return prefix_ + ShownPath(paths_[i]); }

bool IsVisibleName(std::string_view name) {
  const absl::string_view text(name.data(), name.size());
  return !absl::StartsWith(text, ".") && text != "__MACOSX" &&
         !absl::EqualsIgnoreCase(text, "Thumbs.db") && !absl::EqualsIgnoreCase(text, "desktop.ini");
}

absl::Status CheckTreePath(const std::string& shown, std::string_view path) {
  const auto refuse = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat(shown, ": ", why));
  };
  if (path.size() > kMaxPathBytes) {
    return refuse(
        absl::StrCat("has a name of ", path.size(), " bytes; want at most ", kMaxPathBytes));
  }
  if (path.empty() || path[0] == '/') return refuse("want a relative path");
  for (const char c : path) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) {
      return refuse("want a name without control characters");
    }
  }
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") {
      return refuse("want a path without \"..\", \".\" and empty parts");
    }
    begin = end + 1;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TreeFile>> ListTree(FileSystem& fs, const std::string& folder,
                                               const std::string& name, int depth,
                                               const ResolvePath& resolve,
                                               const DataLimits& limits) {
  Lister lister{fs, name, depth, resolve, limits, {}};
  CONVD_RETURN_IF_ERROR(lister.List(folder, "", 0));
  // "a-b" goes before "a/c", which a folder at a time doesn't give.
  std::sort(lister.files.begin(), lister.files.end(),
            [](const TreeFile& a, const TreeFile& b) { return a.within < b.within; });
  return std::move(lister.files);
}

std::unique_ptr<FileTree> NewFolderTree(FileSystem& fs, const std::vector<TreeFile>& files,
                                        const DataLimits& limits) {
  return std::make_unique<FolderTree>(fs, files, limits.file_bytes);
}

}  // namespace convd
