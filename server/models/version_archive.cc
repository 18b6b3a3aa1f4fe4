#include "server/models/version_archive.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"
#include "server/models/found_versions.h"
#include "server/models/manifest.h"
#include "server/models/version_folder.h"

namespace convd {

const int64_t kMaxArchiveBytes = kMaxOnnxBytes + kMaxCardBytes + (int64_t{1} << 20);

namespace {

constexpr size_t kPiece = size_t{1} << 20;

struct FreeReader {
  void operator()(archive* a) const { archive_read_free(a); }
};
struct FreeWriter {
  void operator()(archive* a) const { archive_write_free(a); }
};
struct FreeEntry {
  void operator()(archive_entry* e) const { archive_entry_free(e); }
};

int64_t MostBytes(std::string_view file) {
  if (file == kManifestFile) return 4096;
  return file == kCardFile ? kMaxCardBytes : kMaxOnnxBytes;
}

// libarchive calls back into it.
struct Writer {
  absl::FunctionRef<absl::Status(std::string_view)> sink;
  absl::Status status;

  static la_ssize_t Write(archive*, void* self, const void* data, size_t size) {
    Writer& writer = *static_cast<Writer*>(self);
    // Where closing an archive that failed writes its end.
    if (!writer.status.ok()) return -1;
    writer.status = writer.sink({static_cast<const char*>(data), size});
    return writer.status.ok() ? static_cast<la_ssize_t>(size) : -1;
  }
};

absl::Status Failed(archive* a, const std::string& what) {
  const char* const error = archive_error_string(a);
  return absl::InternalError(
      absl::StrCat(what, ": ", error != nullptr ? error : "no reason given"));
}

absl::Status NoArchive(archive* a, const std::string& name) {
  return absl::InvalidArgumentError(
      absl::StrCat(Failed(a, name).message(), "; want a tar archive, not compressed"));
}

struct Member {
  v1::ModelVersion version;
  std::string file;
};

// NAME/VERSION/FILE, and nothing that only looks like it.
absl::StatusOr<Member> ParsePath(const std::string& name, const char* path) {
  const std::string shown = path == nullptr ? "" : absl::CEscape(std::string(path).substr(0, 200));
  const auto wrong = [&] {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": holds \"", shown, "\"; want NAME/VERSION/{", kManifestFile, ", ",
                     kCardFile, ", ", kOnnxFile, "} alone, as `convctl models export` makes it"));
  };
  if (path == nullptr) return wrong();
  const std::vector<std::string> parts = absl::StrSplit(path, '/');
  if (parts.size() != 3 || !CheckName("model", parts[0]).ok()) return wrong();
  const std::optional<int64_t> number = ParseVersionNumber(parts[1]);
  if (!number || (parts[2] != kManifestFile && parts[2] != kCardFile && parts[2] != kOnnxFile)) {
    return wrong();
  }
  Member member;
  member.version.set_name(parts[0]);
  member.version.set_version(*number);
  member.file = parts[2];
  return member;
}

absl::Status UnpackMember(FileSystem& fs, archive* a, const std::string& name,
                          const std::string& path, int64_t size) {
  CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<WritableFile> file, fs.Create(path));
  int64_t written = 0;
  for (;;) {
    const void* data;
    size_t bytes;
    la_int64_t offset;
    const int code = archive_read_data_block(a, &data, &bytes, &offset);
    if (code == ARCHIVE_EOF) break;
    if (code != ARCHIVE_OK) {
      return absl::InvalidArgumentError(Failed(a, name).message());
    }
    // A file with holes is not one that we made, and could be any size.
    if (offset != written || static_cast<int64_t>(bytes) > size - written) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": a file has holes, or more bytes than its size says"));
    }
    CONVD_RETURN_IF_ERROR(file->Append({static_cast<const char*>(data), bytes}));
    written += static_cast<int64_t>(bytes);
  }
  if (written != size) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": ends ", size - written, " bytes too early"));
  }
  return file->Close();
}

}  // namespace

absl::Status WriteVersionArchive(FileSystem& fs, const std::string& dir,
                                 const v1::ModelVersion& version,
                                 absl::FunctionRef<absl::Status(std::string_view)> sink) {
  int64_t created = 0;
  {
    CONVD_ASSIGN_OR_RETURN(const CheckedWeights checked, ReadCheckedWeights(fs, dir, version));
    created = checked.card.created().seconds();
  }
  Writer writer{sink, absl::OkStatus()};
  const std::unique_ptr<archive, FreeWriter> a(archive_write_new());
  const std::unique_ptr<archive_entry, FreeEntry> entry(archive_entry_new());
  if (a == nullptr || entry == nullptr) return absl::ResourceExhaustedError("no memory to export");
  const auto check = [&](int code) -> absl::Status {
    CONVD_RETURN_IF_ERROR(writer.status);
    return code == ARCHIVE_OK ? absl::OkStatus() : Failed(a.get(), dir);
  };
  CONVD_RETURN_IF_ERROR(check(archive_write_set_format_ustar(a.get())));
  CONVD_RETURN_IF_ERROR(check(archive_write_set_bytes_per_block(a.get(), kPiece)));
  CONVD_RETURN_IF_ERROR(check(archive_write_set_bytes_in_last_block(a.get(), 1)));
  CONVD_RETURN_IF_ERROR(
      check(archive_write_open(a.get(), &writer, nullptr, &Writer::Write, nullptr)));
  for (const char* file : {kManifestFile, kCardFile, kOnnxFile}) {
    // In pieces: the end of a mapped file that somebody shortens would be the server's.
    CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<ReadableFile> opened,
                           fs.Open(absl::StrCat(dir, "/", file)));
    archive_entry_clear(entry.get());
    const std::string path = absl::StrCat(version.name(), "/", version.version(), "/", file);
    archive_entry_set_pathname(entry.get(), path.c_str());
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_perm(entry.get(), 0644);
    archive_entry_set_size(entry.get(), opened->size());
    archive_entry_set_mtime(entry.get(), created, 0);
    CONVD_RETURN_IF_ERROR(check(archive_write_header(a.get(), entry.get())));
    std::string piece;
    for (int64_t at = 0; at < opened->size(); at += static_cast<int64_t>(piece.size())) {
      piece.resize(std::min(kPiece, static_cast<size_t>(opened->size() - at)));
      CONVD_RETURN_IF_ERROR(opened->ReadAt(at, absl::MakeSpan(piece.data(), piece.size())));
      if (archive_write_data(a.get(), piece.data(), piece.size()) !=
          static_cast<la_ssize_t>(piece.size())) {
        return check(ARCHIVE_FATAL);
      }
    }
  }
  return check(archive_write_close(a.get()));
}

absl::StatusOr<v1::ModelVersion> UnpackVersionArchive(FileSystem& fs, std::string_view bytes,
                                                      const std::string& name,
                                                      const std::string& dir) {
  const std::unique_ptr<archive, FreeReader> a(archive_read_new());
  if (a == nullptr) return absl::ResourceExhaustedError("no memory to import");
  // Nothing that unpacks to more than it has, and of the formats only tar.
  if (archive_read_support_format_tar(a.get()) != ARCHIVE_OK ||
      archive_read_open_memory(a.get(), bytes.data(), bytes.size()) != ARCHIVE_OK) {
    return NoArchive(a.get(), name);
  }
  std::map<std::string, v1::ModelVersion> found;
  archive_entry* entry;
  for (;;) {
    const int code = archive_read_next_header(a.get(), &entry);
    if (code == ARCHIVE_EOF) break;
    if (code != ARCHIVE_OK) {
      return NoArchive(a.get(), name);
    }
    // A folder's own entry, as tar programs add them.
    if (archive_entry_filetype(entry) == AE_IFDIR) continue;
    CONVD_ASSIGN_OR_RETURN(const Member member, ParsePath(name, archive_entry_pathname(entry)));
    const std::string& file = member.file;
    if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) != nullptr ||
        archive_entry_symlink(entry) != nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": ", file, " is no regular file, but a link or a device"));
    }
    if (!archive_entry_size_is_set(entry) || archive_entry_size(entry) < 0 ||
        archive_entry_size(entry) > MostBytes(file)) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": ", file, " has ",
                                                     archive_entry_size(entry),
                                                     " bytes; want at most ", MostBytes(file)));
    }
    if (!found.empty() && (found.begin()->second.name() != member.version.name() ||
                           found.begin()->second.version() != member.version.version())) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": holds files of more than one version; want one"));
    }
    if (!found.emplace(file, member.version).second) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": holds ", file, " twice"));
    }
    CONVD_RETURN_IF_ERROR(
        UnpackMember(fs, a.get(), name, absl::StrCat(dir, "/", file), archive_entry_size(entry)));
  }
  for (const char* file : {kManifestFile, kCardFile, kOnnxFile}) {
    if (found.count(file) == 0) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": has no ", file));
    }
  }
  return found.begin()->second;
}

}  // namespace convd
