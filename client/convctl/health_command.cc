#include "absl/status/status.h"
#include "client/convctl/commands.h"
#include "core/status/status_macros.h"
#include "grpc/health/v1/health.pb.h"

namespace convd {
namespace {

absl::Status ShowHealth(Session& session) {
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_ASSIGN_OR_RETURN(const Health health, client->CheckHealth());
  grpc::health::v1::HealthCheckResponse response;
  response.set_status(health == Health::kServing ? grpc::health::v1::HealthCheckResponse::SERVING
                      : health == Health::kNotServing
                          ? grpc::health::v1::HealthCheckResponse::NOT_SERVING
                          : grpc::health::v1::HealthCheckResponse::UNKNOWN);
  if (session.json()) {
    CONVD_RETURN_IF_ERROR(session.PrintJson(response));
  } else if (health == Health::kServing) {
    session.Print("serving\n");
  }
  if (health == Health::kServing) return absl::OkStatus();
  return absl::FailedPreconditionError(health == Health::kNotServing
                                           ? "the server is up but takes no calls (it is starting "
                                             "or stopping)"
                                           : "the server doesn't know how it is");
}

}  // namespace

void AddHealthCommand(CLI::App& app, Command& chosen) {
  CLI::App* const health = app.add_subcommand("health", "Say whether the server takes calls");
  health->callback([&chosen] { chosen = ShowHealth; });
}

}  // namespace convd
