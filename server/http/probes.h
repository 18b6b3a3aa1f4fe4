#ifndef CONVD_SERVER_HTTP_PROBES_H_
#define CONVD_SERVER_HTTP_PROBES_H_

#include "server/http/router.h"
#include "server/serving_state.h"

namespace convd {

inline constexpr char kHealthPath[] = "/healthz";
inline constexpr char kReadyPath[] = "/readyz";

// GET /healthz: 200 as long as the process answers. GET /readyz: 200 while the server serves, 503
// with the reason once it stops, and a line for each of its services; with ?service=NAME the same
// of one, as grpc.health.v1 has it. `state` outlives the router.
void AddProbes(Router& router, const ServingState& state);

}  // namespace convd

#endif  // CONVD_SERVER_HTTP_PROBES_H_
