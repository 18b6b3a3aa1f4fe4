#include "core/data/zip_archive.h"

#include <sys/stat.h>
#include <zip.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/data/file_format.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

constexpr size_t kMaxNameShown = 200;
// Deflate can't do better than 258 bytes in 2 bits.
constexpr int64_t kMaxRatio = 1032;
constexpr int64_t kMaxPiece = int64_t{1} << 30;

struct ZipError {
  zip_error_t error;
  ZipError() { zip_error_init(&error); }
  ~ZipError() { zip_error_fini(&error); }
  const char* text() { return zip_error_strerror(&error); }
};

}  // namespace

struct ZipArchive::Handle {
  zip_t* zip = nullptr;
  ~Handle() {
    // Nothing was changed, so nothing is written.
    if (zip != nullptr) zip_discard(zip);
  }
};

ZipArchive::ZipArchive(std::unique_ptr<Handle> handle, std::string name)
    : handle_(std::move(handle)), name_(std::move(name)) {}
ZipArchive::~ZipArchive() = default;
ZipArchive::ZipArchive(ZipArchive&&) noexcept = default;

absl::StatusOr<ZipArchive> ZipArchive::Open(std::string_view bytes, const std::string& name,
                                            int64_t max_members) {
  if (DetectFileFormat(bytes) != FileFormat::kZip) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": is ", DescribeFileFormat(bytes),
                                                   "; want a zip archive (an .npz file)"));
  }
  ZipError error;
  zip_source_t* const source =
      zip_source_buffer_create(bytes.data(), bytes.size(), 0, &error.error);
  if (source == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat(name, ": ", error.text()));
  }
  auto handle = std::make_unique<Handle>();
  handle->zip = zip_open_from_source(source, ZIP_RDONLY, &error.error);
  if (handle->zip == nullptr) {
    zip_source_free(source);
    if (zip_error_code_zip(&error.error) == ZIP_ER_MEMORY) {
      return absl::ResourceExhaustedError(absl::StrCat(name, ": ", error.text()));
    }
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": the zip archive of ", bytes.size(),
                     " bytes can't be read, it is damaged or cut short: ", error.text()));
  }
  const int64_t count = zip_get_num_entries(handle->zip, 0);
  if (count > max_members) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": has ", count, " members; want at most ", max_members));
  }
  ZipArchive archive(std::move(handle), name);
  for (int64_t i = 0; i < count; ++i) {
    const char* const member =
        zip_get_name(archive.handle_->zip, static_cast<zip_uint64_t>(i), ZIP_FL_ENC_RAW);
    if (member == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": the name of member ", i,
                       " can't be read: ", zip_strerror(archive.handle_->zip)));
    }
    archive.members_.emplace_back(member);
  }
  return archive;
}

std::string ZipArchive::Shown(size_t i) const {
  return absl::StrCat(name_, "/", absl::Utf8SafeCEscape(members_[i].substr(0, kMaxNameShown)));
}

absl::StatusOr<ZipArchive::Entry> ZipArchive::Examine(size_t i) {
  zip_stat_t info;
  zip_stat_init(&info);
  zip_uint8_t system = ZIP_OPSYS_DOS;
  zip_uint32_t attributes = 0;
  if (zip_stat_index(handle_->zip, i, 0, &info) != 0 || (info.valid & ZIP_STAT_SIZE) == 0 ||
      zip_file_get_external_attributes(handle_->zip, i, 0, &system, &attributes) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(Shown(i), ": can't be examined: ", zip_strerror(handle_->zip)));
  }
  Entry entry;
  // More than any limit is as good as the largest number.
  entry.size = static_cast<int64_t>(std::min<zip_uint64_t>(
      info.size, static_cast<zip_uint64_t>(std::numeric_limits<int64_t>::max())));
  if ((info.valid & ZIP_STAT_ENCRYPTION_METHOD) != 0 && info.encryption_method != ZIP_EM_NONE) {
    entry.other = "encrypted";
    return entry;
  }
  // Unix keeps a file's mode in the upper half; whoever isn't Unix has zeros there.
  const uint32_t mode = attributes >> 16;
  if (system != ZIP_OPSYS_UNIX || (mode & S_IFMT) == 0) return entry;
  if (S_ISLNK(mode)) {
    entry.other = "a symbolic link";
  } else if (!S_ISREG(mode) && !S_ISDIR(mode)) {
    entry.other = "a device, pipe or socket";
  }
  return entry;
}

absl::StatusOr<HeapArray<char>> ZipArchive::Read(size_t i, int64_t limit, ArrayMemory* arrays) {
  const std::string what = Shown(i);
  const auto invalid = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat(what, ": ", why));
  };
  zip_stat_t info;
  zip_stat_init(&info);
  constexpr zip_uint64_t kWanted =
      ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
  if (zip_stat_index(handle_->zip, i, 0, &info) != 0 || (info.valid & kWanted) != kWanted) {
    return invalid(absl::StrCat("can't be examined: ", zip_strerror(handle_->zip)));
  }
  if (info.encryption_method != ZIP_EM_NONE) return invalid("is encrypted");
  if (info.comp_method != ZIP_CM_STORE && info.comp_method != ZIP_CM_DEFLATE) {
    return invalid(absl::StrCat("is compressed by method ", info.comp_method,
                                "; want 0 (stored) or 8 (deflated), as NumPy writes"));
  }
  if (info.size > static_cast<zip_uint64_t>(limit)) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": unpacks to ", info.size, " bytes; the limit is ", limit));
  }
  // Bounded by the file's size from here on, so a small file can't ask for much.
  if (info.size / kMaxRatio > info.comp_size) {
    return invalid(absl::StrCat("says that its ", info.comp_size, " bytes unpack to ", info.size,
                                ", which can't be"));
  }
  const int64_t size = static_cast<int64_t>(info.size);
  zip_file_t* const file = zip_fopen_index(handle_->zip, i, 0);
  if (file == nullptr) return invalid(absl::StrCat("can't be read: ", zip_strerror(handle_->zip)));
  absl::Cleanup close = [file] { zip_fclose(file); };
  // One byte more shows a member that is longer than it says, and makes the library come to the
  // end, where it checks the CRC.
  CONVD_ASSIGN_OR_RETURN(HeapArray<char> data, HeapArray<char>::Allocate(size + 1, what, arrays));
  int64_t used = 0;
  while (used <= size) {
    // In pieces, as zlib beneath counts in 32 bits.
    const zip_int64_t n = zip_fread(
        file, data.data() + used, static_cast<zip_uint64_t>(std::min(size + 1 - used, kMaxPiece)));
    if (n < 0) {
      return invalid(absl::StrCat("is damaged: ", zip_file_strerror(file), ", after ", used,
                                  " unpacked bytes of ", size));
    }
    if (n == 0) break;
    used += n;
  }
  if (used != size) {
    return invalid(absl::StrCat("says that it unpacks to ", size, " bytes, but ",
                                used < size ? absl::StrCat("only ", used) : "more", " came out"));
  }
  CONVD_RETURN_IF_ERROR(data.Resize(size, what));
  return data;
}

}  // namespace convd
