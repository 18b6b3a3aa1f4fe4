#ifndef CONVD_SERVER_HTTP_REQUEST_READER_H_
#define CONVD_SERVER_HTTP_REQUEST_READER_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/strings/string_view.h"
#include "server/http/http.h"

namespace convd {

struct HttpReadLimits {
  size_t header_bytes = size_t{16} << 10;  // beyond: 431
  int64_t body_bytes = int64_t{64} << 20;  // beyond: 413, before the body is read where it can be
};

// Reads one HTTP/1 request out of bytes as they come. Nothing in them is trusted. One thread at a
// time.
class HttpRequestReader {
 public:
  enum class State { kHeader, kBody, kWhole, kRefused };

  static std::unique_ptr<HttpRequestReader> New(const HttpReadLimits& limits);
  virtual ~HttpRequestReader() = default;

  // Takes what it can from the front of `bytes`, and returns how many it took, none of them beyond
  // the request's end: what it can't make sense of yet is to be shown again with more behind it.
  // REQUIRES: the state is kHeader or kBody.
  virtual size_t Read(absl::string_view bytes) = 0;

  virtual State state() const = 0;
  // kRefused: what is wrong. The connection is to be closed after it.
  virtual const HttpResponse& refusal() const = 0;
  // The header has come and the client waits for "100 Continue" before it sends the body.
  virtual bool awaits_continue() const = 0;
  // The client is one of HTTP/1.1, which may be told "100 Continue" unasked.
  virtual bool may_continue() const = 0;
  // The client expects the connection to stay open.
  virtual bool keep_alive() const = 0;
  virtual size_t body_bytes() const = 0;  // so far
  // With as much of its body as has come. REQUIRES: kBody or kWhole.
  virtual HttpRequest& request() = 0;
  // REQUIRES: kWhole. Once.
  virtual HttpRequest Take() = 0;
};

// "%41" becomes "A"; false where a % isn't followed by two hexadecimal digits. `plus_is_space` as
// in queries.
bool PercentDecode(absl::string_view text, bool plus_is_space, std::string& decoded);

}  // namespace convd

#endif  // CONVD_SERVER_HTTP_REQUEST_READER_H_
