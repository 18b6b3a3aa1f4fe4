#ifndef CONVD_SERVER_METRICS_RPC_METRICS_H_
#define CONVD_SERVER_METRICS_RPC_METRICS_H_

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace prometheus {
class Registry;
}

namespace convd {

// Counts calls, of gRPC and HTTP alike. Any thread may call.
class RpcMetrics {
 public:
  // True for the names that models have. Requests may name anything, so other names are left out,
  // and don't take memory.
  using IsModel = std::function<bool(absl::string_view name)>;

  // The registry outlives it.
  static std::unique_ptr<RpcMetrics> New(prometheus::Registry& registry, IsModel is_model);
  virtual ~RpcMetrics() = default;

  // `method` is one of a fixed set: "convd.v1.Models/GetModel", "GET /v1/models/{name}". `model` is
  // what the request named, or "".
  virtual void Finished(absl::string_view method, absl::StatusCode code, absl::string_view model,
                        absl::Duration took) = 0;
};

}  // namespace convd

#endif  // CONVD_SERVER_METRICS_RPC_METRICS_H_
