#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/data/file_format.h"
#include "core/data/file_tree.h"
#include "core/data/tar_archive.h"
#include "core/data/zip_archive.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

// A member on its way into a tree.
struct Member {
  std::string path;
  bool folder = false;
  std::string other;  // what it is instead of a file or folder
  int64_t size = 0;
};

// Paths of a tree and which member each is.
struct Sorted {
  std::vector<std::string> paths;
  std::vector<size_t> members;
};

bool IsVisiblePath(absl::string_view path) {
  for (const absl::string_view part : absl::StrSplit(path, '/')) {
    if (!IsVisibleName(std::string_view(part.data(), part.size()))) return false;
  }
  return true;
}

// Checks members as they come, before any of them is unpacked.
class Sorter {
 public:
  Sorter(std::string name, const DataLimits& limits) : name_(std::move(name)), limits_(limits) {}

  absl::Status Add(size_t index, Member member) {
    const std::string shown =
        absl::StrCat(name_, "/", absl::Utf8SafeCEscape(member.path.substr(0, 200)));
    absl::string_view path = member.path;
    // As `tar -c .` has them, and as folders end.
    while (absl::StartsWith(path, "./")) path.remove_prefix(2);
    while (member.folder && absl::EndsWith(path, "/")) path.remove_suffix(1);
    if (member.folder && (path.empty() || path == ".")) return absl::OkStatus();
    CONVD_RETURN_IF_ERROR(CheckTreePath(shown, std::string_view(path.data(), path.size())));
    if (!IsVisiblePath(path) || member.folder) return absl::OkStatus();
    if (!member.other.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(shown, ": is ", member.other, "; want plain files and folders"));
    }
    if (member.size > limits_.file_bytes) {
      return absl::InvalidArgumentError(
          absl::StrCat(shown, ": has ", member.size, " bytes; the limit is ", limits_.file_bytes));
    }
    if (member.size > limits_.decompressed_bytes - bytes_) {
      return absl::InvalidArgumentError(
          absl::StrCat(shown, ": with it the archive unpacks to more than the limit of ",
                       limits_.decompressed_bytes, " bytes"));
    }
    bytes_ += member.size;
    if (static_cast<int64_t>(found_.size()) >= limits_.image_files) {
      return absl::InvalidArgumentError(absl::StrCat(name_, ": has more than ", limits_.image_files,
                                                     " files, which is the limit"));
    }
    found_.emplace_back(std::string(path), index);
    return absl::OkStatus();
  }

  // The archive's order plays no part from here on.
  absl::StatusOr<Sorted> Finish() {
    std::sort(found_.begin(), found_.end());
    Sorted sorted;
    for (auto& [path, index] : found_) {
      if (!sorted.paths.empty() && sorted.paths.back() == path) {
        return absl::InvalidArgumentError(
            absl::StrCat(name_, "/", absl::Utf8SafeCEscape(path.substr(0, 200)),
                         ": is in the archive twice; want each file once"));
      }
      sorted.paths.push_back(std::move(path));
      sorted.members.push_back(index);
    }
    return sorted;
  }

 private:
  const std::string name_;
  const DataLimits& limits_;
  int64_t bytes_ = 0;
  std::vector<std::pair<std::string, size_t>> found_;
};

class ZipTree final : public FileTree {
 public:
  ZipTree(ZipArchive zip, const std::string& name, Sorted sorted, int64_t file_bytes)
      : zip_(std::move(zip)), members_(std::move(sorted.members)), file_bytes_(file_bytes) {
    prefix_ = name + "/";
    paths_ = std::move(sorted.paths);
  }

  absl::Status Read(size_t i, Use use) override {
    CONVD_ASSIGN_OR_RETURN(const HeapArray<char> data, zip_.Read(members_[i], file_bytes_));
    return use({data.data(), static_cast<size_t>(data.size())});
  }

 private:
  ZipArchive zip_;
  std::vector<size_t> members_;
  const int64_t file_bytes_;
};

class TarTree final : public FileTree {
 public:
  TarTree(TarArchive tar, const std::string& name, Sorted sorted)
      : tar_(std::move(tar)), members_(std::move(sorted.members)) {
    prefix_ = name + "/";
    paths_ = std::move(sorted.paths);
  }

  absl::Status Read(size_t i, Use use) override {
    CONVD_ASSIGN_OR_RETURN(const HeapArray<char> data, tar_.Read(members_[i]));
    return use({data.data(), static_cast<size_t>(data.size())});
  }

 private:
  TarArchive tar_;
  std::vector<size_t> members_;
};

// Folders and what is ignored count, too, so that they are bounded as well.
int64_t MaxMembers(const DataLimits& limits) { return 2 * limits.image_files; }

absl::StatusOr<std::unique_ptr<FileTree>> OpenZip(std::string_view bytes, const std::string& name,
                                                  const DataLimits& limits) {
  CONVD_ASSIGN_OR_RETURN(ZipArchive zip, ZipArchive::Open(bytes, name, MaxMembers(limits)));
  Sorter sorter(name, limits);
  for (size_t i = 0; i < zip.members().size(); ++i) {
    CONVD_ASSIGN_OR_RETURN(const ZipArchive::Entry entry, zip.Examine(i));
    CONVD_RETURN_IF_ERROR(sorter.Add(
        i, {zip.members()[i], absl::EndsWith(zip.members()[i], "/"), entry.other, entry.size}));
  }
  CONVD_ASSIGN_OR_RETURN(Sorted sorted, sorter.Finish());
  return std::make_unique<ZipTree>(std::move(zip), name, std::move(sorted), limits.file_bytes);
}

absl::StatusOr<std::unique_ptr<FileTree>> OpenTar(std::string_view bytes, const std::string& name,
                                                  const DataLimits& limits) {
  CONVD_ASSIGN_OR_RETURN(TarArchive tar, TarArchive::Open(bytes, name, MaxMembers(limits)));
  Sorter sorter(name, limits);
  for (size_t i = 0; i < tar.members().size(); ++i) {
    const TarArchive::Member& member = tar.members()[i];
    CONVD_RETURN_IF_ERROR(sorter.Add(
        i, {member.path, member.kind == TarArchive::Kind::kFolder, member.what, member.size}));
  }
  CONVD_ASSIGN_OR_RETURN(Sorted sorted, sorter.Finish());
  return std::make_unique<TarTree>(std::move(tar), name, std::move(sorted));
}

}  // namespace

bool IsFileArchive(std::string_view bytes) {
  switch (DetectFileFormat(bytes)) {
    case FileFormat::kTar:
      return true;
    case FileFormat::kZip: {
      // What can't be opened, npz's reader says.
      const absl::StatusOr<ZipArchive> zip =
          ZipArchive::Open(bytes, "", std::numeric_limits<int64_t>::max());
      return zip.ok() && !zip->members().empty() &&
             std::none_of(zip->members().begin(), zip->members().end(),
                          [](const std::string& member) { return absl::EndsWith(member, ".npy"); });
    }
    default:
      return false;
  }
}

absl::StatusOr<std::unique_ptr<FileTree>> OpenArchiveTree(std::string_view bytes,
                                                          const std::string& name,
                                                          const DataLimits& limits) {
  if (DetectFileFormat(bytes) == FileFormat::kTar) return OpenTar(bytes, name, limits);
  return OpenZip(bytes, name, limits);
}

}  // namespace convd
