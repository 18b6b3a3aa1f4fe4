#include "server/http/http_api.h"

#include <utility>

#include "core/status/status_macros.h"
#include "server/auth/request_id.h"
#include "server/http/error_response.h"
#include "server/http/http_server.h"
#include "server/http/inference_rest.h"
#include "server/http/probes.h"
#include "server/predict/blocking_calls.h"

namespace convd {
namespace {

constexpr char kMetricsPath[] = "/metrics";
constexpr int kScrapesWaiting = 16;

class Api final : public HttpApi {
 public:
  explicit Api(Sources sources)
      : metrics_(std::move(sources.metrics)),
        answered_(std::move(sources.answered)),
        tls_(std::move(sources.tls)),
        router_(std::move(sources.authorize), answered_),
        rest_(sources.models, sources.datasets, sources.jobs, sources.predictor),
        inference_(sources.models, sources.predictor, sources.serving, std::move(sources.version)),
        scrapes_(/*threads=*/1, kScrapesWaiting) {
    AddProbes(router_, sources.serving);
    router_.Add(Route("GET", kMetricsPath, Scope::kRead,
                      [this](const HttpRequest&, const std::shared_ptr<Responder>& responder) {
                        Scrape(responder);
                      }));
    rest_.AddRoutes(router_);
    inference_.AddRoutes(router_);
  }

  absl::Status Listen(const Config& config) {
    HttpServerOptions options;
    options.address = config.http_address;
    options.read.body_bytes = int64_t{config.max_message_mb} << 20;
    options.waiting_body_bytes = MostWaitingBytes(config);
    options.urgent_paths = {kHealthPath, kReadyPath, kMetricsPath};
    options.waiting_answer_bytes = options.waiting_body_bytes;
    options.tls = tls_;
    if (answered_) {
      options.on_refused = [this](const HttpResponse& response, const std::string& peer) {
        return TellOfRefused(response, peer);
      };
    }
    CONVD_ASSIGN_OR_RETURN(server_,
                           HttpServer::Start(options, [this](const HttpRequest& request,
                                                             std::shared_ptr<Responder> responder) {
                             return router_.Admit(request, std::move(responder));
                           }));
    return absl::OkStatus();
  }

  const std::string& address() const override { return server_->address(); }
  void Drain() override { server_->Drain(); }
  void Stop(absl::Time deadline) override { server_->Stop(deadline); }

 private:
  // What no route has seen counts as other requests do. Returns by what it is named.
  std::string TellOfRefused(const HttpResponse& response, const std::string& peer) const {
    const RequestId id("");
    answered_({.method = "other",
               .status = response.outcome,
               .duration = absl::ZeroDuration(),
               .principal = "",
               .request_id = {id.text().data(), id.text().size()},
               .trace_id = "",
               .target = "",
               .model = "",
               .peer = [&peer] { return peer; }});
    return std::string(id.text());
  }

  void Scrape(const std::shared_ptr<Responder>& responder) {
    const bool accepted = scrapes_.Start([this, responder] {
      HttpResponse response;
      response.content_type = "text/plain; version=0.0.4; charset=utf-8";
      response.body = metrics_();
      responder->Respond(std::move(response));
    });
    if (!accepted) {
      responder->Respond(ErrorResponse(
          absl::ResourceExhaustedError("too many ask for metrics at once; try again in a moment")));
    }
  }

  const std::function<std::string()> metrics_;
  const Answered answered_;
  const std::function<std::shared_ptr<SSL_CTX>()> tls_;
  Router router_;
  Rest rest_;
  InferenceRest inference_;
  BlockingCalls scrapes_;
  std::unique_ptr<HttpServer> server_;  // last: it calls the rest
};

}  // namespace

absl::StatusOr<std::unique_ptr<HttpApi>> HttpApi::Start(const Config& config, Sources sources) {
  auto api = std::make_unique<Api>(std::move(sources));
  CONVD_RETURN_IF_ERROR(api->Listen(config));
  return std::unique_ptr<HttpApi>(std::move(api));
}

}  // namespace convd
