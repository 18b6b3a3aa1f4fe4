#ifndef CONVD_SERVER_HTTP_ROUTER_H_
#define CONVD_SERVER_HTTP_ROUTER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
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
};

// OK where whoever sent the request has the scope, else UNAUTHENTICATED or PERMISSION_DENIED.
using Authorize = std::function<absl::Status(const HttpRequest&, Scope)>;

// Hands each request to its route's handler; answers OPTIONS itself, and 404 and 405 with what
// there is. Routes are added before the first request; then any thread may call.
class Router {
 public:
  explicit Router(Authorize authorize) : authorize_(std::move(authorize)) {}

  void Add(Route route) { routes_.push_back(std::move(route)); }
  void Handle(HttpRequest request, const std::shared_ptr<Responder>& responder) const;

 private:
  const Authorize authorize_;
  std::vector<Route> routes_;
};

}  // namespace convd

#endif  // CONVD_SERVER_HTTP_ROUTER_H_
