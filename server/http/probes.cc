#include "server/http/probes.h"

#include <map>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/http/error_response.h"

namespace convd {
namespace {

HttpResponse Ready(const HttpRequest& request, const ServingState& state) {
  const std::map<std::string, absl::Status> services = state.All();
  const std::string asked(Find(request.query, "service"));
  const auto found = services.find(asked);
  if (found == services.end()) {
    return ErrorResponse(absl::NotFoundError(
        absl::StrCat("service: there is none of this name; there are ",
                     absl::StrJoin(services, ", ", [](std::string* out, const auto& service) {
                       absl::StrAppend(out, "\"", service.first, "\"");
                     }))));
  }
  HttpResponse response;
  response.status = found->second.ok() ? 200 : 503;
  response.outcome = found->second;
  response.body = found->second.ok() ? "ok\n" : absl::StrCat(found->second.message(), "\n");
  if (!asked.empty()) return response;
  for (const auto& [name, status] : services) {
    if (name.empty()) continue;
    absl::StrAppend(&response.body, name, ": ",
                    status.ok() ? "serving" : absl::StrCat("not serving: ", status.message()),
                    "\n");
  }
  return response;
}

}  // namespace

void AddProbes(Router& router, const ServingState& state) {
  router.Add(Route("GET", kHealthPath, Scope::kNone,
                   [](const HttpRequest&, const std::shared_ptr<Responder>& responder) {
                     HttpResponse response;
                     response.body = "ok\n";
                     responder->Respond(std::move(response));
                   }));
  router.Add(
      Route("GET", kReadyPath, Scope::kNone,
            [&state](const HttpRequest& request, const std::shared_ptr<Responder>& responder) {
              responder->Respond(Ready(request, state));
            }));
}

}  // namespace convd
