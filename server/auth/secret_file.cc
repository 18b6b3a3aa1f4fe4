#include "server/auth/secret_file.h"

#include <memory>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

constexpr int64_t kMostBytes = int64_t{1} << 20;

absl::Status InFlag(absl::string_view flag, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(flag, ": ", status.message()));
}

}  // namespace

WatchedFiles::WatchedFiles(FileSystem& fs, const Clock& clock, std::vector<std::string> paths)
    : fs_(fs), clock_(clock), paths_(std::move(paths)) {}

bool WatchedFiles::MayHaveChanged() {
  const absl::Time now = clock_.Now();
  std::vector<FileStamp> stamps;
  bool certain = true;
  for (const std::string& path : paths_) {
    const absl::StatusOr<FileStamp> stamp = fs_.Stamp(path);
    certain = certain && stamp.ok() && stamp->ShowsTheNextChange(now);
    if (stamp.ok()) stamps.push_back(*stamp);
  }
  const bool same = certain && stamps == stamps_;
  stamps_ = certain ? std::move(stamps) : std::vector<FileStamp>();
  return !same;
}

absl::StatusOr<std::string> ReadAccessFile(FileSystem& fs, absl::string_view flag,
                                           const std::string& path, Readers readers) {
  // All is asked of the one file that is open.
  const auto read = [&]() -> absl::StatusOr<std::string> {
    CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<ReadableFile> file, fs.Open(path));
    CONVD_ASSIGN_OR_RETURN(const FileStamp before, file->Stamp());
    const std::string name = absl::CHexEscape(path.substr(0, 300));
    const uint32_t forbidden = readers == Readers::kEveryone ? 0022 : 0026;
    if ((before.permissions & forbidden) != 0) {
      return absl::FailedPreconditionError(absl::StrFormat(
          "%s has mode %04o; want one that %s, such as 0600", name, before.permissions,
          readers == Readers::kEveryone
              ? "only its owner may write"
              : "only its owner may write and only owner and group may read"));
    }
    if (file->size() > kMostBytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat(name, ": has ", file->size(), " bytes; want at most ", kMostBytes));
    }
    std::string text(static_cast<size_t>(file->size()), '\0');
    CONVD_RETURN_IF_ERROR(file->ReadAt(0, absl::MakeSpan(text.data(), text.size())));
    CONVD_ASSIGN_OR_RETURN(const FileStamp after, file->Stamp());
    if (!(before == after) || before.size != file->size()) {
      return absl::AbortedError(absl::StrCat(name, ": was changed while it was read"));
    }
    return text;
  };
  absl::StatusOr<std::string> text = read();
  if (!text.ok()) return InFlag(flag, text.status());
  return text;
}

}  // namespace convd
