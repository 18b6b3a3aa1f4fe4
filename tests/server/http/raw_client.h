#ifndef CONVD_TESTS_SERVER_HTTP_RAW_CLIENT_H_
#define CONVD_TESTS_SERVER_HTTP_RAW_CLIENT_H_

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace convd {

// A TCP connection that says exactly what a test wants said, and reads HTTP by hand.
class RawClient {
 public:
  // `address` is 127.0.0.1:PORT.
  explicit RawClient(const std::string& address) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port =
        htons(static_cast<uint16_t>(std::atoi(address.substr(address.rfind(':') + 1).c_str())));
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to), 0) << address;
  }
  ~RawClient() { Close(); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  // False where the server has closed the connection.
  bool Send(const std::string& bytes) {
    for (size_t sent = 0; sent < bytes.size();) {
      const ssize_t n = send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return false;
      sent += static_cast<size_t>(n);
    }
    return true;
  }
  void EndSending() { shutdown(fd_, SHUT_WR); }
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

  // One response with its body, by Content-Length; what came where the connection ended before.
  std::string Response(bool has_body = true) {
    size_t end;
    while ((end = in_.find("\r\n\r\n")) == std::string::npos) {
      if (!Receive()) return std::exchange(in_, "");
    }
    end += 4;
    const size_t length = in_.find("Content-Length: ");
    if (has_body && length < end) {
      end += static_cast<size_t>(std::atoll(in_.c_str() + length + 16));
    }
    while (in_.size() < end) {
      if (!Receive()) return std::exchange(in_, "");
    }
    const std::string response = in_.substr(0, end);
    in_.erase(0, end);
    return response;
  }
  // Reads on to the connection's end.
  std::string Rest() {
    while (Receive()) {
    }
    return std::exchange(in_, "");
  }

 private:
  bool Receive() {
    char buffer[65536];
    const ssize_t n = recv(fd_, buffer, sizeof buffer, 0);
    if (n > 0) in_.append(buffer, static_cast<size_t>(n));
    return n > 0;
  }

  int fd_;
  std::string in_;
};

}  // namespace convd

#endif  // CONVD_TESTS_SERVER_HTTP_RAW_CLIENT_H_
