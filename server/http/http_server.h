#ifndef CONVD_SERVER_HTTP_HTTP_SERVER_H_
#define CONVD_SERVER_HTTP_HTTP_SERVER_H_

#include <openssl/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/http/http.h"
#include "server/http/request_reader.h"

namespace convd {

struct HttpServerOptions {
  std::string address = "127.0.0.1:0";            // HOST:PORT, as --http-address
  HttpReadLimits read;                            // body_bytes is --max-message-mb
  int64_t waiting_body_bytes = int64_t{1} << 30;  // of all requests not answered; beyond: 503
  // Of answers that clients haven't read, of all connections; beyond: those that have had theirs
  // longest are closed. A lone answer may be longer.
  int64_t waiting_answer_bytes = int64_t{1} << 30;
  // The same time is TLS's for its handshake, from the connection's beginning; then closed.
  absl::Duration header_time = absl::Seconds(10);  // from a request's first byte; beyond: 408
  absl::Duration body_time = absl::Seconds(120);   // from the header's end; beyond: 408
  absl::Duration idle_time = absl::Seconds(75);    // between two requests; then closed
  absl::Duration write_time = absl::Seconds(120);  // of a whole answer; then closed
  int max_connections = 1024;                      // beyond: 503
  int max_requests = 256;                          // handed on and not answered; beyond: 503
  // Answered however many requests wait, and while draining.
  std::vector<std::string> urgent_paths;
  // What a connection's TLS begins with, asked for each on the I/O thread; null: without TLS.
  std::function<std::shared_ptr<SSL_CTX>()> tls = nullptr;
  // Told of each answer to what `admit` hasn't seen, and who it was for; says what names it to the
  // client, as X-Request-Id. May be null.
  std::function<std::string(const HttpResponse&, const std::string& peer)> on_refused = nullptr;
};

// An HTTP/1.1 server: all of its connections on one thread, so that one costs a little memory and
// no thread, however slow its client is. Any thread may call.
class HttpServer {
 public:
  // Listens; `admit` and what it returns are called until Stop returns. Errors name
  // --http-address.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const HttpServerOptions& options,
                                                           HttpAdmit admit);
  // Stops at once.
  virtual ~HttpServer() = default;

  virtual const std::string& address() const = 0;  // as bound
  // From now on requests get 503, but for urgent ones. Returns at once.
  virtual void Drain() = 0;
  // Drains, returns when what was accepted has been answered, or at `deadline` with the others
  // given up, and closes all connections.
  virtual void Stop(absl::Time deadline) = 0;
};

}  // namespace convd

#endif  // CONVD_SERVER_HTTP_HTTP_SERVER_H_
