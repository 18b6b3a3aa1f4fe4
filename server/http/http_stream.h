#ifndef CONVD_SERVER_HTTP_HTTP_STREAM_H_
#define CONVD_SERVER_HTTP_HTTP_STREAM_H_

#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/http/tls_session.h"

namespace convd {

// A client's connection: what is said over it, whether in the open or within TLS. Of the one thread
// that runs the socket's executor. What it is given to call is called at most once, never from
// within, and not after Close.
class HttpStream final : public std::enable_shared_from_this<HttpStream> {
 public:
  enum class Received { kBytes, kEnd, kPlainHttp, kBroken };
  using OnReceived = std::function<void(Received, absl::string_view said)>;
  using OnWritten = std::function<void(bool)>;

  // `tls` null: in the open.
  HttpStream(boost::asio::ip::tcp::socket socket, std::unique_ptr<TlsSession> tls);

  // Waits for bytes, reads some into `scratch`, which is used only just before the call, and tells
  // what they say: perhaps nothing yet. REQUIRES: no other Receive waits.
  void Receive(absl::Span<char> scratch, OnReceived received);
  // After kEnd: calls where the client has not only said its last, but is gone.
  void AwaitGone(std::function<void()> gone);
  // Writes both, which stay as they are until it calls; false where that failed. REQUIRES: TLS's
  // handshake is done; no other Write is under way.
  void Write(absl::string_view head, absl::string_view body, OnWritten written);
  // The same of a few bytes while nothing else is written; false where the connection is broken.
  bool WriteAtOnce(absl::string_view text);
  // Nothing more is written. REQUIRES: nothing is being written.
  void EndSending();
  void Close();

  // TLS is there, and has not come to an agreement yet.
  bool handshaking() const { return tls_ != nullptr && !tls_->handshake_done(); }
  bool encrypted() const { return tls_ != nullptr; }
  // From now on in the open: the client doesn't speak TLS.
  void DropTls() { tls_ = nullptr; }
  // Of the client's certificate; empty without one.
  std::vector<std::string> CertificateNames() const;
  std::string Peer() const;  // "127.0.0.1:40312"
  boost::asio::ip::tcp::socket::executor_type executor() { return socket_.get_executor(); }

 private:
  void ReadSome(absl::Span<char> scratch, const OnReceived& received);
  void Pump();
  bool EncryptNext();

  boost::asio::ip::tcp::socket socket_;
  std::unique_ptr<TlsSession> tls_;
  std::string said_;                  // in the bytes read last
  Received next_ = Received::kBytes;  // else what comes after said_
  std::string wire_;                  // being written
  bool wire_busy_ = false;            // wire_ is
  absl::string_view rest_[2];         // of what is to be written, and not yet encrypted
  OnWritten written_;                 // null where nothing is to be written
};

}  // namespace convd

#endif  // CONVD_SERVER_HTTP_HTTP_STREAM_H_
