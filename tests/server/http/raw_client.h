#ifndef CONVD_TESTS_SERVER_HTTP_RAW_CLIENT_H_
#define CONVD_TESTS_SERVER_HTTP_RAW_CLIENT_H_

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "server/auth/openssl_pointer.h"
#include "tests/server/auth/test_certificates.h"

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

  // Speaks TLS from now on, with this certificate where it isn't empty; false where the server
  // won't have it, which TLS 1.3 may only tell with the first answer. Whoever the server is counts
  // as well if `authority` is empty.
  bool StartTls(const std::string& authority = "", const PemPair& own = {},
                const std::string& protocol = "http/1.1", int version = TLS1_3_VERSION) {
    const OpenSslPointer<SSL_CTX, SSL_CTX_free> context(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_security_level(context.get(), 0);
    SSL_CTX_set_min_proto_version(context.get(), TLS1_VERSION);
    SSL_CTX_set_max_proto_version(context.get(), version);
    if (!authority.empty()) {
      X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), Certificate(authority).get());
      SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    }
    if (!own.certificate.empty()) {
      SSL_CTX_use_certificate(context.get(), Certificate(own.certificate).get());
      const Pem pem(BIO_new_mem_buf(own.key.data(), -1));
      const OpenSslPointer<EVP_PKEY, EVP_PKEY_free> key(
          PEM_read_bio_PrivateKey(pem.get(), nullptr, nullptr, nullptr));
      SSL_CTX_use_PrivateKey(context.get(), key.get());
    }
    ssl_.reset(SSL_new(context.get()));
    const std::string offer = static_cast<char>(protocol.size()) + protocol;
    SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const unsigned char*>(offer.data()),
                        static_cast<unsigned>(offer.size()));
    SSL_set_fd(ssl_.get(), fd_);
    return SSL_connect(ssl_.get()) == 1;
  }
  SSL* ssl() { return ssl_.get(); }

  // False where the server has closed the connection.
  bool Send(const std::string& bytes) {
    if (ssl_ != nullptr) {
      return SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())) > 0;
    }
    for (size_t sent = 0; sent < bytes.size();) {
      const ssize_t n = send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return false;
      sent += static_cast<size_t>(n);
    }
    return true;
  }
  // Sends until the server takes no more for a moment; returns how many bytes it has taken.
  size_t SendWhileTaken(size_t most) {
    const std::string piece(65536, 'x');
    size_t taken = 0;
    while (taken < most) {
      pollfd wait = {fd_, POLLOUT, 0};
      if (poll(&wait, 1, 200) <= 0) break;
      const ssize_t n = send(fd_, piece.data(), piece.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n <= 0) break;
      taken += static_cast<size_t>(n);
    }
    return taken;
  }
  void EndSending() {
    if (ssl_ != nullptr) SSL_shutdown(ssl_.get());
    shutdown(fd_, SHUT_WR);
  }
  // Gone without a word, as a process that is killed.
  void Reset() {
    const linger at_once = {1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    Close();
  }
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
  using Pem = OpenSslPointer<BIO, BIO_free>;

  static OpenSslPointer<X509, X509_free> Certificate(const std::string& text) {
    const Pem pem(BIO_new_mem_buf(text.data(), -1));
    return OpenSslPointer<X509, X509_free>(PEM_read_bio_X509(pem.get(), nullptr, nullptr, nullptr));
  }
  bool Receive() {
    char buffer[65536];
    const ssize_t n = ssl_ != nullptr ? SSL_read(ssl_.get(), buffer, sizeof buffer)
                                      : recv(fd_, buffer, sizeof buffer, 0);
    if (n > 0) in_.append(buffer, static_cast<size_t>(n));
    return n > 0;
  }

  int fd_;
  OpenSslPointer<SSL, SSL_free> ssl_;  // null: in the open
  std::string in_;
};

}  // namespace convd

#endif  // CONVD_TESTS_SERVER_HTTP_RAW_CLIENT_H_
