#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/convctl/commands.h"
#include "client/convctl/terminal_text.h"
#include "core/status/status_macros.h"
#include "grpc/health/v1/health.pb.h"

namespace convd {
namespace {

// jobs -> convd.v1.Jobs
std::string FullName(const std::string& service) {
  if (service.empty() || absl::StrContains(service, ".")) return service;
  std::string name = absl::AsciiStrToLower(service);
  name[0] = absl::ascii_toupper(static_cast<unsigned char>(name[0]));
  return absl::StrCat("convd.v1.", name);
}

absl::Status NotServing(const std::string& service) {
  if (service.empty()) {
    return absl::FailedPreconditionError(
        "the server is up but takes no calls (it is starting or stopping)");
  }
  return absl::FailedPreconditionError(
      absl::StrCat(service,
                   " takes nothing new: the disk has no room for it, or the server is starting or "
                   "stopping; its log says which"));
}

absl::Status ShowHealth(Session& session, const std::string& asked) {
  const std::string service = FullName(asked);
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  const absl::StatusOr<Health> health = client->CheckHealth(service);
  if (!service.empty() && absl::IsNotFound(health.status())) {
    return absl::NotFoundError(
        absl::StrCat("SERVICE: the server has none named ", Printable(service),
                     "; want jobs, datasets, models, evaluator, predictor or a full name"));
  }
  CONVD_RETURN_IF_ERROR(health.status());
  grpc::health::v1::HealthCheckResponse response;
  response.set_status(*health == Health::kServing ? grpc::health::v1::HealthCheckResponse::SERVING
                      : *health == Health::kNotServing
                          ? grpc::health::v1::HealthCheckResponse::NOT_SERVING
                          : grpc::health::v1::HealthCheckResponse::UNKNOWN);
  if (session.json()) {
    CONVD_RETURN_IF_ERROR(session.PrintJson(response));
  } else if (*health == Health::kServing) {
    session.Print("serving\n");
  }
  if (*health == Health::kServing) return absl::OkStatus();
  return *health == Health::kNotServing
             ? NotServing(service)
             : absl::FailedPreconditionError("the server doesn't know how it is");
}

}  // namespace

void AddHealthCommand(CLI::App& app, Command& chosen) {
  CLI::App* const health = app.add_subcommand("health", "Say whether the server takes calls");
  const auto service = std::make_shared<std::string>();
  health->add_option("SERVICE", *service,
                     "Of one service: jobs, datasets, models, evaluator or predictor");
  health->callback([&chosen, service] {
    chosen = [service](Session& session) { return ShowHealth(session, *service); };
  });
}

}  // namespace convd
