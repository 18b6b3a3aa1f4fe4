#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "client/convctl/bench_requests.h"
#include "client/convctl/bench_target.h"
#include "client/convctl/exit_code.h"
#include "client/convctl/model_spec.h"
#include "client/load/http_target.h"
#include "convd/v1/predictor.pb.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

class FirstCall final : public LoadObserver {
 public:
  void OnEnd(int, const absl::Status& status) override {
    status_ = status;
    over_.Notify();
  }
  absl::Status Await() {
    over_.WaitForNotification();
    return status_;
  }

 private:
  absl::Notification over_;
  absl::Status status_;
};

// The names and labels that ParseModelSpec lets through are the server's to judge; what would end
// the path or the line is not sent.
absl::Status CheckInPath(const std::string& text) {
  for (const char c : text) {
    const bool plain =
        absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
    if (!plain)
      return UsageError(
          "--protocol rest: the model's name and label want letters, digits, ., - and _");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> PathOf(const BenchCalls& calls) {
  CONVD_ASSIGN_OR_RETURN(const v1::ModelVersion model, ParseModelSpec(calls.model));
  CONVD_RETURN_IF_ERROR(CheckInPath(model.name()));
  CONVD_RETURN_IF_ERROR(CheckInPath(model.label()));
  return absl::StrCat("/v1/models/", model.name(),
                      model.version() > 0 ? absl::StrCat("/versions/", model.version()) : "",
                      ":predict", model.label().empty() ? "" : "?label=", model.label());
}

}  // namespace

absl::StatusOr<std::unique_ptr<LoadTarget>> OpenRestTarget(Session& session,
                                                           const BenchCalls& calls) {
  if (calls.files.empty() && calls.shape.height() == 0) {
    return UsageError("--protocol rest wants the images' --shape, or images with --from");
  }
  if (calls.connections != 1) {
    return UsageError(
        "--protocol rest has a connection for each call in flight; leave out "
        "--connections");
  }
  HttpLoad load;
  load.address = session.server();
  load.slots = calls.slots;
  CONVD_ASSIGN_OR_RETURN(const ClientOptions connection, session.connection());
  load.timeout = connection.timeout;
  load.token = connection.token;
  load.tls = connection.tls;
  load.tls_ca = connection.tls_ca;
  load.tls_certificate = connection.tls_certificate;
  load.tls_key = connection.tls_key;
  CONVD_ASSIGN_OR_RETURN(load.path, PathOf(calls));
  CONVD_ASSIGN_OR_RETURN(std::vector<v1::Images> images,
                         calls.files.empty()
                             ? RandomRequests(calls.shape.height(), calls.shape.width(),
                                              std::max(1, calls.shape.channels()), calls.images,
                                              static_cast<uint64_t>(calls.seed))
                             : RequestsOfFiles(calls.files, calls.images));
  v1::PredictRequest request;
  request.set_top_k(calls.top_k.value_or(1));
  request.set_precision(calls.precision);
  for (v1::Images& some : images) {
    *request.mutable_images() = std::move(some);
    const auto status =
        google::protobuf::util::MessageToJsonString(request, &load.bodies.emplace_back());
    if (!status.ok()) return absl::InternalError("a request has no JSON form");
  }
  CONVD_ASSIGN_OR_RETURN(std::unique_ptr<LoadTarget> target, NewHttpTarget(load));
  FirstCall first;
  target->Start(0, 0, first);
  absl::Status status = first.Await();
  if (status.ok()) return target;
  if (status.code() != absl::StatusCode::kUnavailable) return status;
  if (absl::StrContains(status.message(), "certificate")) {
    return WithHint(std::move(status), "--tls-ca FILE says whose word for the server counts");
  }
  return WithHint(std::move(status), "--protocol rest wants --server to be convd's HTTP address");
}

}  // namespace convd
