#include "server/http/rest.h"

#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/status/status_macros.h"
#include "server/datasets/dataset_list.h"
#include "server/http/error_response.h"
#include "server/http/message_json.h"
#include "server/http/predict_body.h"
#include "server/http/query.h"
#include "server/jobs/job_list.h"
#include "server/models/model_list.h"

namespace convd {
namespace {

constexpr int kReadsAtOnce = 2;
constexpr int kReadsWaiting = 256;
// A body of many small parts takes many times its size when it is read.
constexpr int kJsonAtOnce = 2;
constexpr int kJsonWaiting = 256;

// What `call` answers, or its error.
template <typename Response, typename Call>
HttpResponse ResponseOf(Call call) {
  Response response;
  const absl::Status status = call(response);
  return status.ok() ? JsonResponse(response) : ErrorResponse(status);
}

template <typename Request>
absl::Status ReadPage(const HttpRequest& http, Request& request) {
  CONVD_ASSIGN_OR_RETURN(const int32_t page_size, QueryInteger(http, "page_size", 0));
  request.set_page_size(page_size);
  request.set_page_token(std::string(Find(http.query, "page_token")));
  return absl::OkStatus();
}

}  // namespace

struct Rest::Prediction {
  HttpRequest http;
  std::shared_ptr<Responder> responder;
  v1::PredictRequest request;
  v1::PredictResponse response;
};

Rest::Rest(ModelRepository& models, DatasetRegistry& datasets, JobRunner& jobs,
           Predictor& predictor)
    : models_(models),
      datasets_(datasets),
      jobs_(jobs),
      predictor_(predictor),
      reads_(kReadsAtOnce, kReadsWaiting),
      json_(kJsonAtOnce, kJsonWaiting) {}

Rest::~Rest() { predictions_.AwaitNone(absl::InfiniteFuture()); }

void Rest::AddRoutes(Router& router) {
  AddRead(router, "/v1/models", &Rest::ListModels);
  AddRead(router, "/v1/models/{name}", &Rest::GetModel);
  AddRead(router, "/v1/models/{name}/versions", &Rest::ListModels);
  AddRead(router, "/v1/models/{name}/versions/{version}", &Rest::GetModel);
  AddRead(router, "/v1/jobs", &Rest::ListJobs);
  AddRead(router, "/v1/jobs/{id}", &Rest::GetJob);
  AddRead(router, "/v1/datasets", &Rest::ListDatasets);
  AddRead(router, "/v1/datasets/{name}", &Rest::GetDataset);
  for (const char* pattern :
       {"/v1/models/{name}:predict", "/v1/models/{name}/versions/{version}:predict"}) {
    router.Add(Route("POST", pattern, Scope::kPredict,
                     [this](HttpRequest request, std::shared_ptr<Responder> responder) {
                       Predict(std::move(request), std::move(responder));
                     }));
  }
}

void Rest::AddRead(Router& router, const char* pattern, Read read) {
  router.Add(Route("GET", pattern, Scope::kRead,
                   [this, read](HttpRequest request, std::shared_ptr<Responder> responder) {
                     const auto answer = [this, read, request = std::move(request), responder] {
                       const absl::Status wanted = responder->StillWanted();
                       responder->Respond(wanted.ok() ? (this->*read)(request)
                                                      : ErrorResponse(wanted));
                     };
                     if (!reads_.Start(answer))
                       responder->Respond(ErrorResponse(TooManyRequests()));
                   }));
}

HttpResponse Rest::ListModels(const HttpRequest& http) {
  return ResponseOf<v1::ListModelsResponse>([&](v1::ListModelsResponse& response) -> absl::Status {
    v1::ListModelsRequest request;
    CONVD_RETURN_IF_ERROR(CheckQuery(http, {"page_size", "page_token"}));
    CONVD_RETURN_IF_ERROR(ReadPage(http, request));
    request.set_name(std::string(Find(http.path_values, "name")));
    return convd::ListModels(models_, request, response);
  });
}

HttpResponse Rest::GetModel(const HttpRequest& http) {
  return ResponseOf<v1::Model>([&](v1::Model& response) -> absl::Status {
    v1::GetModelRequest request;
    CONVD_RETURN_IF_ERROR(CheckQuery(http, {"label"}));
    CONVD_RETURN_IF_ERROR(ReadModelVersion(http, *request.mutable_model()));
    return convd::GetModel(models_, request, response);
  });
}

HttpResponse Rest::ListJobs(const HttpRequest& http) {
  return ResponseOf<v1::ListJobsResponse>([&](v1::ListJobsResponse& response) -> absl::Status {
    v1::ListJobsRequest request;
    CONVD_RETURN_IF_ERROR(CheckQuery(http, {"page_size", "page_token"}));
    CONVD_RETURN_IF_ERROR(ReadPage(http, request));
    return convd::ListJobs(jobs_, request, response);
  });
}

HttpResponse Rest::GetJob(const HttpRequest& http) {
  return ResponseOf<v1::Job>([&](v1::Job& response) -> absl::Status {
    CONVD_RETURN_IF_ERROR(CheckQuery(http, {}));
    CONVD_ASSIGN_OR_RETURN(response, jobs_.Get(std::string(Find(http.path_values, "id"))));
    return absl::OkStatus();
  });
}

HttpResponse Rest::ListDatasets(const HttpRequest& http) {
  return ResponseOf<v1::ListDatasetsResponse>(
      [&](v1::ListDatasetsResponse& response) -> absl::Status {
        v1::ListDatasetsRequest request;
        CONVD_RETURN_IF_ERROR(CheckQuery(http, {"page_size", "page_token"}));
        CONVD_RETURN_IF_ERROR(ReadPage(http, request));
        return convd::ListDatasets(datasets_, request, response);
      });
}

HttpResponse Rest::GetDataset(const HttpRequest& http) {
  return ResponseOf<v1::Dataset>([&](v1::Dataset& response) -> absl::Status {
    v1::GetDatasetRequest request;
    CONVD_RETURN_IF_ERROR(CheckQuery(http, {}));
    request.set_name(std::string(Find(http.path_values, "name")));
    return convd::GetDataset(datasets_, request, response);
  });
}

void Rest::Predict(HttpRequest request, std::shared_ptr<Responder> responder) {
  predictions_.Begin();
  auto prediction = std::make_shared<Prediction>();
  prediction->http = std::move(request);
  prediction->responder = std::move(responder);
  if (IsImageFile(prediction->http.body)) return Begin(std::move(prediction));
  if (!json_.Start([this, prediction] { Begin(prediction); })) End(prediction, TooManyRequests());
}

void Rest::Begin(std::shared_ptr<Prediction> prediction) {
  absl::Status status = prediction->responder->StillWanted();
  if (status.ok()) status = ReadPrediction(prediction->http, prediction->request);
  if (!status.ok()) return End(std::move(prediction), std::move(status));
  Prediction& p = *prediction;
  predictor_.Predict(p.request, p.response,
                     {[responder = p.responder] { return responder->StillWanted(); },
                      absl::InfiniteFuture(), p.http.came},
                     [this, prediction = std::move(prediction)](absl::Status predicted) {
                       const auto answer = [this, prediction, predicted] {
                         End(prediction, predicted);
                       };
                       // Not on a worker, which has better things to do than writing JSON.
                       if (!json_.StartNext(answer)) answer();
                     });
}

void Rest::End(std::shared_ptr<Prediction> prediction, absl::Status status) {
  prediction->responder->Respond(status.ok() ? JsonResponse(prediction->response)
                                             : ErrorResponse(status));
  prediction = nullptr;
  predictions_.End();
}

}  // namespace convd
