#ifndef CONVD_SERVER_HTTP_ROUTER_H_
#define CONVD_SERVER_HTTP_ROUTER_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/auth/scope.h"
#include "server/http/http.h"

namespace convd {

// A method and a pattern that something answers. The scope has no default: whoever adds a route
// says who may use it.
struct Route {
  // `pattern` is a path whose segments are words, {name}, which stands for any that isn't empty, or
  // {name}:word. `method` GET answers HEAD, too.
  Route(std::string method, std::string pattern, Scope scope, HttpHandler handler);

  std::string method;
  std::string pattern;
  Scope scope;
  HttpHandler handler;
  std::vector<std::string> segments;  // of the pattern
  std::string name;                   // "GET /v1/models/{name}"
};

// OK where whoever sent the request has the scope, else UNAUTHENTICATED or PERMISSION_DENIED.
using Authorize = std::function<absl::Status(const HttpRequest&, Scope)>;

// Told of each request when it is answered: its route's name, "other" where it has none, and the
// model that its path names, or "".
using Answered = std::function<void(absl::string_view route, absl::string_view model,
                                    absl::StatusCode code, absl::Duration took)>;

// Hands each request to its route's handler; answers OPTIONS itself, and 404 and 405 with what
// there is. Routes are added before the first request; then any thread may call.
class Router {
 public:
  // `answered` may be null; it outlives every responder that a handler was given.
  explicit Router(Authorize authorize, Answered answered = nullptr)
      : authorize_(std::move(authorize)), answered_(std::move(answered)) {}

  void Add(Route route) { routes_.push_back(std::move(route)); }
  void Handle(HttpRequest request, std::shared_ptr<Responder> responder) const;

 private:
  class Observed;

  const Authorize authorize_;
  const Answered answered_;
  std::vector<Route> routes_;
};

}  // namespace convd

#endif  // CONVD_SERVER_HTTP_ROUTER_H_
