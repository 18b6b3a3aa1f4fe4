#ifndef CONVD_SERVER_SERVER_H_
#define CONVD_SERVER_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/config.h"

namespace convd {

// Everything that one convd is made of. Logs to spdlog's default logger. One thread.
class Server {
 public:
  // REQUIRES: CheckCpu() was OK. Prepares the state folder, opens what lies in it and listens.
  // INVALID_ARGUMENT where a flag's value can't be right on this machine; another code where
  // something failed. Both are sentences that name the flag.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const Config& config);
  // Stop(now) unless it was called.
  virtual ~Server() = default;

  // As bound: HOST:PORT, never port 0.
  virtual const std::string& grpc_address() const = 0;
  virtual const std::string& http_address() const = 0;  // "": it has none

  // From now on it isn't ready, and new calls are refused. Running jobs end at their next cut and
  // are saved, then watches end; calls that were accepted are answered, those that aren't by
  // `deadline` cancelled.
  virtual void Stop(absl::Time deadline) = 0;
};

}  // namespace convd

#endif  // CONVD_SERVER_SERVER_H_
