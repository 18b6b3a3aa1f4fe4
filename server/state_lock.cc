#include "server/state_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace convd {
namespace {

// Which process has the lock, where its file says so.
std::string Owner(int fd) {
  char text[24];
  const ssize_t n = pread(fd, text, sizeof text, 0);
  std::string digits;
  for (ssize_t i = 0; i < n && absl::ascii_isdigit(text[i]); ++i) digits += text[i];
  return digits.empty() ? "" : absl::StrCat(" (process ", digits, ")");
}

}  // namespace

absl::StatusOr<std::unique_ptr<StateLock>> StateLock::Acquire(const std::string& state_dir) {
  const std::string path = state_dir + "/lock";
  // No link is followed: the file is made by this program alone.
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("--state: ", path, " can't be opened"));
  }
  std::unique_ptr<StateLock> lock(new StateLock(fd));
  int locked;
  do {
    locked = flock(fd, LOCK_EX | LOCK_NB);
  } while (locked != 0 && errno == EINTR);
  if (locked != 0) {
    if (errno != EWOULDBLOCK) {
      return absl::ErrnoToStatus(errno, absl::StrCat("--state: ", path, " can't be locked"));
    }
    return absl::FailedPreconditionError(
        absl::StrCat("--state: another convd", Owner(fd), " uses ", state_dir,
                     "; stop it, or give this one a folder of its own"));
  }
  // For people who wonder; nothing depends on it.
  const std::string owner = absl::StrCat(getpid(), "\n");
  if (ftruncate(fd, 0) != 0 || pwrite(fd, owner.data(), owner.size(), 0) < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("--state: ", path, " can't be written"));
  }
  return lock;
}

// Closing lets go of the lock.
StateLock::~StateLock() { close(fd_); }

}  // namespace convd
