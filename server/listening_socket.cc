#include "server/listening_socket.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"
#include "server/config.h"

namespace convd {
namespace {

constexpr int kBacklog = 512;
constexpr char kInUse[] =
    "; is another program using it? Give another address, or port 0 for a free one";

absl::Status CantListen(std::string_view flag, const std::string& address, std::string_view why,
                        const char* what_to_do) {
  return absl::UnavailableError(
      absl::StrCat(absl::string_view(flag.data(), flag.size()), ": can't listen on ", address, ": ",
                   absl::string_view(why.data(), why.size()), what_to_do));
}

absl::Status CantListen(std::string_view flag, const std::string& address, int error) {
  const char* what_to_do = "";
  switch (error) {
    case EADDRINUSE:
      what_to_do = kInUse;
      break;
    case EADDRNOTAVAIL:
      what_to_do = "; this machine has no such address. 0.0.0.0 or [::] stands for all that it has";
      break;
    case EACCES:
    case EPERM:
      what_to_do = "; a port below 1024 may want a right of its own. Give another one";
      break;
    default:
      break;
  }
  return CantListen(flag, address, std::strerror(error), what_to_do);
}

int BoundPort(int fd) {
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size) != 0) return 0;
  return ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(bound).sin6_port
                                           : reinterpret_cast<sockaddr_in&>(bound).sin_port);
}

}  // namespace

absl::StatusOr<ListeningSocket> ListeningSocket::Open(std::string_view flag,
                                                      const std::string& text) {
  CONVD_ASSIGN_OR_RETURN(ListenAddress address, ParseListenAddress(flag, text));
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int resolved =
      getaddrinfo(address.host.c_str(), absl::StrCat(address.port).c_str(), &hints, &found);
  if (resolved != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(absl::string_view(flag.data(), flag.size()), ": ", address.host,
                     ": not the name or number of an address here: ", gai_strerror(resolved)));
  }
  const auto free_found = absl::MakeCleanup([found] { freeaddrinfo(found); });
  absl::Status error;
  // A name may stand for several.
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    const int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0) {
      error = CantListen(flag, text, errno);
      continue;
    }
    ListeningSocket opened(fd, "", a->ai_family == AF_INET6);
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    // Listening, too: two sockets may be bound alike until one listens.
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, kBacklog) == 0) {
      address.port = BoundPort(fd);
      opened.address_ = ToString(address);
      return opened;
    }
    const int bind_errno = errno;
    // In use beats whatever another of the name's addresses says.
    if (error.ok() || bind_errno == EADDRINUSE) error = CantListen(flag, text, bind_errno);
  }
  return error;
}

ListeningSocket::ListeningSocket(int fd, std::string address, bool ipv6)
    : fd_(fd), address_(std::move(address)), ipv6_(ipv6) {}

ListeningSocket::ListeningSocket(ListeningSocket&& other) noexcept
    : fd_(other.Release()), address_(std::move(other.address_)), ipv6_(other.ipv6_) {}

ListeningSocket::~ListeningSocket() {
  if (fd_ >= 0) close(fd_);
}

int ListeningSocket::Release() { return std::exchange(fd_, -1); }

absl::Status PortInUse(std::string_view flag, const std::string& address, std::string_view why) {
  return CantListen(flag, address, why, kInUse);
}

}  // namespace convd
