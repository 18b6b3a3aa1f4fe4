#ifndef CONVD_SERVER_HTTP_TLS_SESSION_H_
#define CONVD_SERVER_HTTP_TLS_SESSION_H_

#include <openssl/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace convd {

// The server's end of one TLS connection, as bytes in and bytes out; it knows no socket. Nothing
// that comes is trusted. One thread at a time.
class TlsSession {
 public:
  enum class Received {
    kMore,       // all is well
    kEnd,        // the client has said that it sends nothing more
    kPlainHttp,  // the client speaks HTTP without TLS
    kBroken,     // no TLS, or none that both ends speak, or a certificate that nobody vouches for
  };

  // Null where there is no memory for it. It keeps the context.
  static std::unique_ptr<TlsSession> New(SSL_CTX& context);
  virtual ~TlsSession() = default;

  // Takes what came from the network, and appends what was said in it to `said`.
  virtual Received Receive(absl::string_view wire, std::string& said) = 0;
  // Encrypts; false where that can't be. REQUIRES: the handshake is done.
  virtual bool Send(absl::string_view text) = 0;
  // Says that nothing more will be sent.
  virtual void End() = 0;
  // What is to be sent over the network by now.
  virtual std::string TakeWire() = 0;
  virtual size_t wire_bytes() const = 0;  // that TakeWire would return

  virtual bool handshake_done() const = 0;
  // Of the client's certificate, which has been vouched for: its common names, then its alternative
  // ones (DNS, URI, e-mail, IP). Empty without one.
  virtual std::vector<std::string> PeerNames() const = 0;
};

}  // namespace convd

#endif  // CONVD_SERVER_HTTP_TLS_SESSION_H_
