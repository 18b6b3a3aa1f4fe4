#include "server/rpc/readiness.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "absl/strings/str_join.h"

namespace convd {

Readiness::Readiness(grpc::HealthCheckServiceInterface& health, ServingState& state,
                     std::vector<std::string> services, std::function<absl::Status()> check,
                     absl::Duration interval)
    : health_(health),
      state_(state),
      services_(std::move(services)),
      check_(std::move(check)),
      checks_([this] { Check(); }, interval) {
  for (const std::string& service : services_) health_.SetServingStatus(service, true);
  Check();
}

void Readiness::Check() {
  absl::MutexLock lock(&mu_);
  const absl::Status status = check_();
  for (const std::string& service : services_) state_.Set(service, status);
  if (status.ok() == ready_) return;
  ready_ = status.ok();
  for (const std::string& service : services_) health_.SetServingStatus(service, ready_);
  const std::string names = absl::StrJoin(services_, ", ");
  if (ready_) {
    spdlog::info("{}: serving again", names);
  } else {
    spdlog::warn("{}: not serving: {}", names,
                 std::string(status.message().data(), status.message().size()));
  }
}

}  // namespace convd
