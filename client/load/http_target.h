#ifndef CONVD_CLIENT_LOAD_HTTP_TARGET_H_
#define CONVD_CLIENT_LOAD_HTTP_TARGET_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/load/load_target.h"

namespace convd {

// POST requests with JSON bodies over HTTP/1.1.
struct HttpLoad {
  std::string address;              // HOST:PORT or [IPV6]:PORT, https:// before it for TLS
  std::string path;                 // "/v1/models/digits:predict"
  std::vector<std::string> bodies;  // call i sends the i-th, from the front again
  int slots = 1;                    // each has a connection of its own, made when it is first used
  absl::Duration timeout = {};      // of a call; 0: none
  std::string token = {};           // sent with each; "": none
  bool tls = false;                 // and the PEM texts for it, as in ClientOptions
  std::string tls_ca = {}, tls_certificate = {}, tls_key = {};
};

// Each call's status is what the answer's status stands for (docs/http.md), with the message in its
// body; UNAVAILABLE where the connection can't be made or breaks. INVALID_ARGUMENT for an address
// of another form, UNAVAILABLE for a host that can't be found. REQUIRES: there is a body.
absl::StatusOr<std::unique_ptr<LoadTarget>> NewHttpTarget(const HttpLoad& load);

}  // namespace convd

#endif  // CONVD_CLIENT_LOAD_HTTP_TARGET_H_
