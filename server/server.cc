#include "server/server.h"

#include <grpcpp/health_check_service_interface.h>
#include <spdlog/spdlog.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"
#include "server/rpc/listening.h"
#include "server/state_lock.h"

namespace convd {
namespace {

class ConvdServer final : public Server {
 public:
  ~ConvdServer() override { Stop(absl::Now()); }

  absl::Status Open(const Config& config);

  const std::string& grpc_address() const override { return listening_.address; }
  void Stop(absl::Time deadline) override;

 private:
  bool stopped_ = false;
  std::unique_ptr<StateLock> lock_;
  ListeningServer listening_;
};

absl::Status ConvdServer::Open(const Config& config) {
  std::error_code error;
  std::filesystem::create_directories(config.state_dir, error);
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("--state: ", config.state_dir, " can't be made: ", error.message()));
  }
  CONVD_ASSIGN_OR_RETURN(lock_, StateLock::Acquire(config.state_dir));
  CONVD_ASSIGN_OR_RETURN(listening_, Listen(config, {}));
  return absl::OkStatus();
}

void ConvdServer::Stop(absl::Time deadline) {
  if (std::exchange(stopped_, true) || listening_.server == nullptr) return;
  listening_.server->GetHealthCheckService()->SetServingStatus(false);
  listening_.server->Shutdown(absl::ToChronoTime(deadline));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const Config& config) {
  auto server = std::make_unique<ConvdServer>();
  CONVD_RETURN_IF_ERROR(server->Open(config));
  return server;
}

}  // namespace convd
