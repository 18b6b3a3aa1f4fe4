#ifndef CONVD_SERVER_HTTP_INFERENCE_REST_H_
#define CONVD_SERVER_HTTP_INFERENCE_REST_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "server/http/router.h"
#include "server/models/repository.h"
#include "server/predict/blocking_calls.h"
#include "server/predict/predictor.h"
#include "server/rpc/active_calls.h"
#include "server/serving_state.h"

namespace convd {

// The Open Inference Protocol's routes, under /v2, with Triton's for the model repository. The
// destructor waits until everything accepted is answered; what it asks outlives it, and the HTTP
// server has stopped before.
class InferenceRest {
 public:
  // `version` is the server's.
  InferenceRest(ModelRepository& models, Predictor& predictor, const ServingState& serving,
                std::string version);
  ~InferenceRest();

  // The routes call this object.
  void AddRoutes(Router& router);

 private:
  using Answer = HttpResponse (InferenceRest::*)(const HttpRequest&);
  struct Inference;

  // Answered on a thread that may wait.
  void Add(Router& router, const char* method, const char* pattern, Scope scope, Answer answer);
  HttpResponse Ready(const HttpRequest& request);
  HttpResponse ServerMetadata(const HttpRequest& request);
  HttpResponse ModelMetadata(const HttpRequest& request);
  HttpResponse ModelReady(const HttpRequest& request);
  HttpResponse RepositoryIndex(const HttpRequest& request);
  HttpResponse RepositoryLoad(const HttpRequest& request);
  HttpResponse RepositoryUnload(const HttpRequest& request);

  void Infer(HttpRequest request, std::shared_ptr<Responder> responder);
  void Begin(std::shared_ptr<Inference> inference);
  absl::Status Read(Inference& inference);
  void End(std::shared_ptr<Inference> inference, const absl::Status& status);

  ModelRepository& models_;
  Predictor& predictor_;
  const ServingState& serving_;
  const std::string version_;

  ActiveCalls inferences_;  // not yet answered
  // Last: their calls use the rest.
  BlockingCalls reads_;  // and loads, which wait for the disk
  BlockingCalls json_;   // of inferences, either way
};

}  // namespace convd

#endif  // CONVD_SERVER_HTTP_INFERENCE_REST_H_
