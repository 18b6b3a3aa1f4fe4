#ifndef CONVD_SERVER_HTTP_ORIGIN_H_
#define CONVD_SERVER_HTTP_ORIGIN_H_

#include "absl/status/status.h"
#include "server/http/http.h"

namespace convd {

// PERMISSION_DENIED where a browser sends the request for a page of another site: its Origin
// (RFC 6454) isn't the Host that it asks, with http or https as it came. With `loopback`, for a
// server that listens on this machine alone, a Host that isn't this machine is refused, too: a name
// that was made to lead here. Needless where a request carries a token, which other sites' pages
// don't have; a browser does show its user's certificate for them. Any thread may call.
absl::Status CheckOrigin(const HttpRequest& request, bool loopback);

}  // namespace convd

#endif  // CONVD_SERVER_HTTP_ORIGIN_H_
