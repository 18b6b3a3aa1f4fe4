#include "core/data/tar_archive.h"

#include <archive.h>
#include <archive_entry.h>

#include <memory>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/data/file_format.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

constexpr size_t kBlock = 512;
constexpr size_t kMaxNameShown = 200;

struct FreeArchive {
  void operator()(archive* a) const { archive_read_free(a); }
};
using Reader = std::unique_ptr<archive, FreeArchive>;

std::string ErrorText(archive* reader) {
  const char* const text = archive_error_string(reader);
  return absl::Utf8SafeCEscape(absl::string_view(text != nullptr ? text : "no reason given"));
}

absl::Status Damaged(const std::string& name, int64_t offset, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(
      name, ": the tar archive is damaged or cut short at offset ", offset, ": ", why));
}

// A reader of nothing but plain tar. Its options are few on purpose: what isn't enabled can't be
// reached by any bytes.
absl::StatusOr<Reader> OpenReader(std::string_view bytes, const std::string& name) {
  Reader reader(archive_read_new());
  if (reader == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat(name, ": no memory to read a tar archive"));
  }
  if (archive_read_support_filter_none(reader.get()) != ARCHIVE_OK ||
      archive_read_support_format_tar(reader.get()) != ARCHIVE_OK ||
      archive_read_open_memory(reader.get(), bytes.data(), bytes.size()) != ARCHIVE_OK) {
    return Damaged(name, 0, ErrorText(reader.get()));
  }
  return reader;
}

// A warning is what libarchive gives for a name that isn't of the locale's characters; it then
// hands over the bytes as they are, which is what is wanted.
bool HasEntry(int result) { return result == ARCHIVE_OK || result == ARCHIVE_WARN; }

void Describe(archive_entry* entry, TarArchive::Member& member) {
  const auto other = [&](const char* what) {
    member.kind = TarArchive::Kind::kOther;
    member.what = what;
  };
  if (archive_entry_hardlink(entry) != nullptr) return other("a hard link");
  switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
      if (archive_entry_sparse_count(entry) > 0) return other("a sparse file");
      member.kind = TarArchive::Kind::kFile;
      return;
    case AE_IFDIR:
      member.kind = TarArchive::Kind::kFolder;
      return;
    case AE_IFLNK:
      return other("a symbolic link");
    case AE_IFCHR:
    case AE_IFBLK:
      return other("a device");
    case AE_IFIFO:
      return other("a pipe");
    default:
      return other("of a kind that isn't known");
  }
}

// Without the end mark nobody knows whether members are missing; what follows it would be ignored.
absl::Status CheckEnd(std::string_view bytes, const std::string& name, int64_t end) {
  const std::string_view rest = bytes.substr(static_cast<size_t>(end));
  if (rest.size() < kBlock) {
    return Damaged(name, end, "the block of zeros that ends an archive is missing");
  }
  const size_t other = rest.find_first_not_of('\0');
  if (other != std::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": something follows the tar archive's end, at offset ",
                     end + static_cast<int64_t>(other), "; want one archive"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TarArchive> TarArchive::Open(std::string_view bytes, const std::string& name,
                                            int64_t max_members) {
  if (DetectFileFormat(bytes) != FileFormat::kTar) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": is ", DescribeFileFormat(bytes), "; want a tar archive"));
  }
  const int64_t total = static_cast<int64_t>(bytes.size());
  CONVD_ASSIGN_OR_RETURN(const Reader reader, OpenReader(bytes, name));
  TarArchive tar(bytes, name);
  while (true) {
    archive_entry* entry = nullptr;
    const int result = archive_read_next_header(reader.get(), &entry);
    const int64_t at = archive_read_header_position(reader.get());
    if (result == ARCHIVE_EOF) {
      if (at < 0 || at > total) return Damaged(name, total, "a member ends beyond the archive");
      CONVD_RETURN_IF_ERROR(CheckEnd(bytes, name, at));
      return tar;
    }
    if (!HasEntry(result)) return Damaged(name, at, ErrorText(reader.get()));
    if (static_cast<int64_t>(tar.members_.size()) >= max_members) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": has more than ", max_members, " members, which is the limit"));
    }
    const char* const path = archive_entry_pathname(entry);
    Member member;
    if (path == nullptr) return Damaged(name, at, "a member's name can't be read");
    member.path = path;
    member.header = at;
    Describe(entry, member);
    if (member.kind == Kind::kFile) {
      member.size = archive_entry_size(entry);
      if (archive_entry_size_is_set(entry) == 0 || member.size < 0 || at < 0 ||
          member.size > total - at) {
        return Damaged(name, at,
                       absl::StrCat("a member says that it has ", member.size, " bytes of the ",
                                    total, " in all"));
      }
    }
    tar.members_.push_back(std::move(member));
  }
}

absl::StatusOr<HeapArray<char>> TarArchive::Read(size_t i) const {
  const Member& member = members_[i];
  const std::string what =
      absl::StrCat(name_, "/", absl::Utf8SafeCEscape(member.path.substr(0, kMaxNameShown)));
  CONVD_ASSIGN_OR_RETURN(const Reader reader,
                         OpenReader(bytes_.substr(static_cast<size_t>(member.header)), what));
  archive_entry* entry = nullptr;
  if (!HasEntry(archive_read_next_header(reader.get(), &entry)) ||
      archive_entry_size(entry) != member.size) {
    return Damaged(what, member.header, ErrorText(reader.get()));
  }
  CONVD_ASSIGN_OR_RETURN(HeapArray<char> data, HeapArray<char>::Allocate(member.size, what));
  int64_t used = 0;
  while (used < member.size) {
    const la_ssize_t n = archive_read_data(reader.get(), data.data() + used,
                                           static_cast<size_t>(member.size - used));
    if (n <= 0) return Damaged(what, member.header, ErrorText(reader.get()));
    used += n;
  }
  return data;
}

}  // namespace convd
