#ifndef CONVD_SERVER_LISTENING_SOCKET_H_
#define CONVD_SERVER_LISTENING_SOCKET_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace convd {

// A socket that listens. Closed when it is destroyed.
class ListeningSocket {
 public:
  // Binds HOST:PORT and listens; a port in use is an error, not a share. Errors begin with `flag`,
  // and say what to do: INVALID_ARGUMENT for a host that is none, UNAVAILABLE else.
  static absl::StatusOr<ListeningSocket> Open(std::string_view flag, const std::string& address);

  ListeningSocket(ListeningSocket&& other) noexcept;
  ~ListeningSocket();

  const std::string& address() const { return address_; }  // as bound
  bool is_ipv6() const { return ipv6_; }
  // The caller's from now on.
  int Release();

 private:
  ListeningSocket(int fd, std::string address, bool ipv6);

  int fd_;
  std::string address_;
  bool ipv6_;
};

// UNAVAILABLE: "FLAG: can't listen on ADDRESS: WHY", with what to do about a port in use.
absl::Status PortInUse(std::string_view flag, const std::string& address, std::string_view why);

}  // namespace convd

#endif  // CONVD_SERVER_LISTENING_SOCKET_H_
