#ifndef CONVD_SERVER_HTTP_ROUTER_H_
#define CONVD_SERVER_HTTP_ROUTER_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "server/auth/admission.h"
#include "server/auth/scope.h"
#include "server/http/http.h"
#include "server/rpc/finished_call.h"

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

// Admission::Admit of whoever sent the request.
using Authorize = std::function<Admitted(const HttpRequest&, Scope)>;

// Told of each request when it is answered or given up: its method is the route's name, or "other"
// where it has none. Those whose scope is train or admin are audited.
using Answered = std::function<void(const FinishedCall&)>;

// Hands each request to its route's handler, once it is admitted and its body is there, for as long
// as it isn't answered; answers OPTIONS itself, and 404 and 405 with what there is. Routes are
// added before the first request; then any thread may call.
class Router {
 public:
  // `answered` may be null; it outlives every responder that a handler was given.
  explicit Router(Authorize authorize, Answered answered = nullptr)
      : authorize_(std::move(authorize)), answered_(std::move(answered)) {}

  void Add(Route route) { routes_.push_back(std::move(route)); }
  // HttpAdmit.
  HttpGoOn Admit(const HttpRequest& request, std::shared_ptr<Responder> responder) const;

 private:
  class Observed;

  const Authorize authorize_;
  const Answered answered_;
  std::vector<Route> routes_;
};

}  // namespace convd

#endif  // CONVD_SERVER_HTTP_ROUTER_H_
