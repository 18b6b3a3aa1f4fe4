#ifndef CONVD_SERVER_HTTP_HTTP_H_
#define CONVD_SERVER_HTTP_HTTP_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace convd {

using NameValue = std::pair<std::string, std::string>;

// The first value of `name`; "" where there is none.
absl::string_view Find(const std::vector<NameValue>& values, absl::string_view name);

// One request as it came. A plain value.
struct HttpRequest {
  std::string method;              // "GET"
  std::string path;                // "/v1/models", still percent-encoded, without the query
  std::vector<NameValue> query;    // decoded, in the order in which they came
  std::vector<NameValue> headers;  // names in lower case
  std::string body;
  std::string peer;  // "127.0.0.1:40312"
  absl::Duration came =
      absl::InfiniteDuration();  // when its header was there, by the monotonic clock
  bool encrypted = false;        // it came over TLS
  // Of the client's certificate, as Peer has them; empty without one.
  std::vector<std::string> certificate_names;
  std::vector<NameValue> path_values;  // what stood where the route has {name}; Router sets it
};

// One answer. A plain value; the server adds Content-Length, Date and Connection.
struct HttpResponse {
  int status = 200;
  absl::Status outcome;  // for who counts, and logs
  std::string content_type = "text/plain; charset=utf-8";
  std::vector<NameValue> headers;
  std::string body;
};

// Where the answer to one request goes. Any thread may call, also when the server is gone.
class Responder {
 public:
  virtual ~Responder() = default;

  // The first answer is sent, others are dropped. A responder that is destroyed without one answers
  // 500.
  virtual void Respond(HttpResponse response) = 0;

  // By which logs name the request: X-Request-Id of its answer where that is no success, whoever
  // makes it. On the thread that admits it, before it goes on or is answered.
  virtual void NameRequest(std::string /*id*/) {}

  // CANCELLED once the client has hung up or the server has given up on the request.
  virtual absl::Status StillWanted() const = 0;
};

// Called on the server's only I/O thread, so it neither computes nor waits there; it may answer
// later.
using HttpHandler = std::function<void(HttpRequest, std::shared_ptr<Responder>)>;

// Goes on with an admitted request once its body has come, as HttpHandler does; destroyed uncalled
// where it never does.
using HttpGoOn = std::function<void(HttpRequest)>;

// Called on the I/O thread, too, when a request's header has come: what goes on with it, or null
// where it has been answered already, which keeps its body from being read.
using HttpAdmit = std::function<HttpGoOn(const HttpRequest&, std::shared_ptr<Responder>)>;

}  // namespace convd

#endif  // CONVD_SERVER_HTTP_HTTP_H_
