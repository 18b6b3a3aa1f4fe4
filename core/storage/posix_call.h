#ifndef CONVD_CORE_STORAGE_POSIX_CALL_H_
#define CONVD_CORE_STORAGE_POSIX_CALL_H_

#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace convd {

// What calls of the system about files have in common; for core/storage alone.

// Paths come from requests too: printable, and never the whole of a message.
std::string Shown(const std::string& path);

// "path: what: why", with the code that FileSystem promises for it.
absl::Status ErrnoStatus(const std::string& path, absl::string_view what, int error);

// INVALID_ARGUMENT for an empty one, and with a NUL, up to which the system would read it only.
absl::Status CheckPath(const std::string& path);

template <typename Call>
auto RetryInterrupted(Call call) {
  while (true) {
    const auto result = call();
    if (result != -1 || errno != EINTR) return result;
  }
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

}  // namespace convd

#endif  // CONVD_CORE_STORAGE_POSIX_CALL_H_
