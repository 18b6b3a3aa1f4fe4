#include "server/datasets/upload_folder.h"

#include <cstdint>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"
#include "server/datasets/upload.h"
#include "server/datasets/upload_files.h"
#include "server/record_text.h"

namespace convd {
namespace {

constexpr char kRecordFile[] = "upload.textproto";
constexpr char kFilesFolder[] = "files";
// More than all that a header may hold with the limits of class names.
constexpr int64_t kMaxRecordBytes = int64_t{4} << 20;

std::string RecordPath(const std::string& folder) { return absl::StrCat(folder, "/", kRecordFile); }

std::string Text(const v1::UploadHeader& header, absl::Time used) {
  v1::Upload record;
  *record.mutable_header() = header;
  record.mutable_used()->set_seconds(absl::ToUnixSeconds(used));
  return RecordText(record);
}

}  // namespace

std::string UploadFilesFolder(const std::string& folder) {
  return absl::StrCat(folder, "/", kFilesFolder);
}

absl::Status MakeUploadFolder(FileSystem& fs, const std::string& temporary,
                              const std::string& folder, const v1::UploadHeader& header,
                              absl::Time used) {
  const std::string text = Text(header, used);
  if (static_cast<int64_t>(text.size()) > kMaxRecordBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "header: has ", text.size(), " bytes as text; the limit is ", kMaxRecordBytes));
  }
  absl::Status status = fs.CreateDirectories(UploadFilesFolder(temporary));
  if (status.ok()) status = WriteFileAtomically(fs, RecordPath(temporary), text);
  if (status.ok()) status = fs.Rename(temporary, folder);
  if (!status.ok()) {
    fs.RemoveAll(temporary).IgnoreError();  // the first error is the one to tell
    return status;
  }
  status = fs.SyncDirectory(folder.substr(0, folder.rfind('/')));
  if (!status.ok()) fs.RemoveAll(folder).IgnoreError();
  return status;
}

absl::StatusOr<v1::Upload> ReadUploadRecord(FileSystem& fs, const std::string& folder,
                                            const std::string& id) {
  const std::string path = RecordPath(folder);
  CONVD_ASSIGN_OR_RETURN(const std::string text, fs.Read(path, kMaxRecordBytes));
  v1::Upload record;
  CONVD_RETURN_IF_ERROR(ParseRecord(path, text, record));
  if (record.header().upload_id() != id) {
    return absl::DataLossError(absl::StrCat(path, ": header.upload_id: is not \"", id, "\""));
  }
  if (absl::Status status = CheckUploadHeader(record.header()); !status.ok()) {
    return absl::DataLossError(absl::StrCat(path, ": ", status.message()));
  }
  return record;
}

absl::Status WriteUploadRecord(FileSystem& fs, const std::string& folder,
                               const v1::UploadHeader& header, absl::Time used) {
  return WriteFileAtomically(fs, RecordPath(folder), Text(header, used));
}

absl::StatusOr<absl::Time> CheckUploadFolder(FileSystem& fs, const std::string& folder,
                                             const std::string& id) {
  CONVD_RETURN_IF_ERROR(CheckName("its name", id));
  const auto want = [&](const std::string& path, PathInfo::Kind kind) -> absl::StatusOr<PathInfo> {
    CONVD_ASSIGN_OR_RETURN(const PathInfo info, fs.Examine(path));
    if (info.kind == kind) return info;
    return absl::InvalidArgumentError(
        absl::StrCat(absl::Utf8SafeCEscape(path), ": is not a ",
                     kind == PathInfo::Kind::kFile ? "regular file" : "folder"));
  };
  CONVD_RETURN_IF_ERROR(want(folder, PathInfo::Kind::kFolder).status());
  CONVD_ASSIGN_OR_RETURN(const std::vector<std::string> entries, fs.List(folder));
  for (const std::string& entry : entries) {
    if (entry == kRecordFile || entry == kFilesFolder) continue;
    const std::string path = absl::StrCat(folder, "/", entry);
    if (entry != absl::StrCat(kRecordFile, ".tmp")) {
      return absl::InvalidArgumentError(absl::StrCat(absl::Utf8SafeCEscape(path), ": is no part"));
    }
    // Of a write that was interrupted before it took effect.
    CONVD_RETURN_IF_ERROR(fs.RemoveAll(path));
  }
  CONVD_ASSIGN_OR_RETURN(const PathInfo info, want(RecordPath(folder), PathInfo::Kind::kFile));
  if (info.bytes > kMaxRecordBytes) {
    return absl::InvalidArgumentError(absl::StrCat(RecordPath(folder), ": has ", info.bytes,
                                                   " bytes; want at most ", kMaxRecordBytes));
  }
  CONVD_ASSIGN_OR_RETURN(const v1::Upload record, ReadUploadRecord(fs, folder, id));
  const std::string files_folder = UploadFilesFolder(folder);
  CONVD_RETURN_IF_ERROR(want(files_folder, PathInfo::Kind::kFolder).status());
  CONVD_ASSIGN_OR_RETURN(const std::vector<std::string> files, fs.List(files_folder));
  if (files.size() > UploadFiles::kMaxFiles) {
    return absl::InvalidArgumentError(
        absl::StrCat(files_folder, ": has more than ", UploadFiles::kMaxFiles, " files"));
  }
  for (const std::string& file : files) {
    CONVD_RETURN_IF_ERROR(CheckName(files_folder, file));
    CONVD_RETURN_IF_ERROR(
        want(absl::StrCat(files_folder, "/", file), PathInfo::Kind::kFile).status());
  }
  return absl::FromUnixSeconds(record.used().seconds());
}

}  // namespace convd
