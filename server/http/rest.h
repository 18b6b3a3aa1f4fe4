#ifndef CONVD_SERVER_HTTP_REST_H_
#define CONVD_SERVER_HTTP_REST_H_

#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "server/datasets/registry.h"
#include "server/http/router.h"
#include "server/jobs/runner.h"
#include "server/models/repository.h"
#include "server/predict/blocking_calls.h"
#include "server/predict/predictor.h"
#include "server/rpc/active_calls.h"

namespace convd {

// The routes under /v1: what gRPC's List and Get calls answer, as JSON, and predictions from an
// image file or JSON. The destructor waits until everything accepted is answered; what it asks
// outlives it, and the HTTP server has stopped before.
class Rest {
 public:
  Rest(ModelRepository& models, DatasetRegistry& datasets, JobRunner& jobs, Predictor& predictor);
  ~Rest();

  // The routes call this object.
  void AddRoutes(Router& router);

 private:
  using Answer = absl::AnyInvocable<HttpResponse(const HttpRequest&)>;
  using Read = HttpResponse (Rest::*)(const HttpRequest&);
  struct Prediction;

  void AddRead(Router& router, const char* pattern, Read read);
  HttpResponse ListModels(const HttpRequest& request);
  HttpResponse GetModel(const HttpRequest& request);
  HttpResponse ListJobs(const HttpRequest& request);
  HttpResponse GetJob(const HttpRequest& request);
  HttpResponse ListDatasets(const HttpRequest& request);
  HttpResponse GetDataset(const HttpRequest& request);

  void Predict(HttpRequest request, std::shared_ptr<Responder> responder);
  void Begin(std::shared_ptr<Prediction> prediction);
  void End(std::shared_ptr<Prediction> prediction, absl::Status status);

  ModelRepository& models_;
  DatasetRegistry& datasets_;
  JobRunner& jobs_;
  Predictor& predictor_;

  ActiveCalls predictions_;  // not yet answered
  // Last: their calls use the rest.
  BlockingCalls reads_;  // wait for the disk, and write JSON
  BlockingCalls json_;   // of predictions, either way
};

}  // namespace convd

#endif  // CONVD_SERVER_HTTP_REST_H_
