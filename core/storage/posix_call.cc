#include "core/storage/posix_call.h"

#include <system_error>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace convd {

std::string Shown(const std::string& path) {
  constexpr size_t kMax = 1000;
  std::string shown = absl::Utf8SafeCEscape(path.substr(0, kMax));
  if (path.size() > kMax) absl::StrAppend(&shown, "... (", path.size(), " bytes)");
  return shown;
}

absl::Status ErrnoStatus(const std::string& path, absl::string_view what, int error) {
  const std::string message =
      absl::StrCat(Shown(path), ": ", what, ": ", std::generic_category().message(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EEXIST:
    case ENOTEMPTY:
      return absl::AlreadyExistsError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EMLINK:
      return absl::ResourceExhaustedError(message);
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
    case ENXIO:
      return absl::InvalidArgumentError(message);
    default:
      return absl::InternalError(message);
  }
}

absl::Status CheckPath(const std::string& path) {
  if (path.empty()) return absl::InvalidArgumentError("a path is empty");
  if (path.find('\0') == std::string::npos) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(Shown(path), ": a path can't hold a NUL character"));
}

}  // namespace convd
