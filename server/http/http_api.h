#ifndef CONVD_SERVER_HTTP_HTTP_API_H_
#define CONVD_SERVER_HTTP_HTTP_API_H_

#include <openssl/types.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/config.h"
#include "server/http/rest.h"
#include "server/http/router.h"
#include "server/predict/predictor.h"
#include "server/serving_state.h"

namespace convd {

// All that convd answers over HTTP: probes, metrics, REST. What it asks outlives it.
class HttpApi {
 public:
  struct Sources {
    ModelRepository& models;
    DatasetRegistry& datasets;
    JobRunner& jobs;
    Predictor& predictor;
    std::string version;  // of the server
    const ServingState& serving;
    std::function<std::string()> metrics;  // in Prometheus's text format; may wait for the disk
    Authorize authorize;
    Answered answered;
    std::function<std::shared_ptr<SSL_CTX>()> tls = nullptr;  // as HttpServerOptions has it
  };

  // Listens on config.http_address. Errors name the flag.
  static absl::StatusOr<std::unique_ptr<HttpApi>> Start(const Config& config, Sources sources);
  virtual ~HttpApi() = default;

  // As HttpServer's.
  virtual const std::string& address() const = 0;
  virtual void Drain() = 0;
  virtual void Stop(absl::Time deadline) = 0;
};

}  // namespace convd

#endif  // CONVD_SERVER_HTTP_HTTP_API_H_
