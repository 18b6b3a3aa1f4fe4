#include "server/http/inference_rest.h"

#include <cstddef>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/status/status_macros.h"
#include "server/http/error_response.h"
#include "server/inference/infer.h"
#include "server/inference/infer_request.h"
#include "server/inference/json_request.h"
#include "server/inference/json_response.h"
#include "server/inference/model_state.h"

namespace convd {
namespace {

constexpr int kReadsAtOnce = 2;
constexpr int kReadsWaiting = 64;
// A body of many numbers takes many times its size when it is read.
constexpr int kJsonAtOnce = 2;
constexpr int kJsonWaiting = 256;

// As Triton and its clients write it.
constexpr char kJsonBytesHeader[] = "inference-header-content-length";

HttpResponse Json(std::string body) {
  HttpResponse response;
  response.content_type = "application/json";
  response.body = std::move(body);
  return response;
}

// 200 without a body, or the error.
HttpResponse Empty(const absl::Status& status) {
  if (!status.ok()) return InferenceErrorResponse(status);
  HttpResponse response;
  response.content_type = "application/json";
  return response;
}

absl::StatusOr<v1::ModelVersion> ReadPath(const HttpRequest& http) {
  const absl::string_view name = Find(http.path_values, "name");
  const absl::string_view version = Find(http.path_values, "version");
  return ReadNamedVersion("name", {name.data(), name.size()}, "version",
                          {version.data(), version.size()});
}

absl::StatusOr<std::optional<size_t>> ReadJsonBytes(const HttpRequest& http) {
  const absl::string_view text = Find(http.headers, kJsonBytesHeader);
  if (text.empty()) return std::nullopt;
  uint64_t bytes = 0;
  if (!absl::SimpleAtoi(text, &bytes) || bytes > http.body.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "Inference-Header-Content-Length: got what is no number of bytes of this body, which has ",
        http.body.size()));
  }
  return std::optional<size_t>(bytes);
}

}  // namespace

struct InferenceRest::Inference {
  HttpRequest http;
  std::shared_ptr<Responder> responder;
  JsonInferRequest json;
  inference::ModelInferResponse response;
};

InferenceRest::InferenceRest(ModelRepository& models, Predictor& predictor,
                             const ServingState& serving, std::string version)
    : models_(models),
      predictor_(predictor),
      serving_(serving),
      version_(std::move(version)),
      reads_(kReadsAtOnce, kReadsWaiting),
      json_(kJsonAtOnce, kJsonWaiting) {}

InferenceRest::~InferenceRest() { inferences_.AwaitNone(absl::InfiniteFuture()); }

void InferenceRest::AddRoutes(Router& router) {
  router.Add(Route("GET", "/v2/health/live", Scope::kNone,
                   [](const HttpRequest&, const std::shared_ptr<Responder>& responder) {
                     responder->Respond(Empty(absl::OkStatus()));
                   }));
  router.Add(Route("GET", "/v2/health/ready", Scope::kNone,
                   [this](const HttpRequest& request, const std::shared_ptr<Responder>& responder) {
                     responder->Respond(Ready(request));
                   }));
  Add(router, "GET", "/v2", Scope::kRead, &InferenceRest::ServerMetadata);
  for (const char* model : {"/v2/models/{name}", "/v2/models/{name}/versions/{version}"}) {
    const std::string path(model);
    Add(router, "GET", model, Scope::kRead, &InferenceRest::ModelMetadata);
    Add(router, "GET", (path + "/ready").c_str(), Scope::kRead, &InferenceRest::ModelReady);
    router.Add(Route("POST", path + "/infer", Scope::kPredict,
                     [this](HttpRequest request, std::shared_ptr<Responder> responder) {
                       Infer(std::move(request), std::move(responder));
                     }));
  }
  Add(router, "POST", "/v2/repository/index", Scope::kRead, &InferenceRest::RepositoryIndex);
  Add(router, "POST", "/v2/repository/models/{name}/load", Scope::kAdmin,
      &InferenceRest::RepositoryLoad);
  Add(router, "POST", "/v2/repository/models/{name}/unload", Scope::kAdmin,
      &InferenceRest::RepositoryUnload);
}

void InferenceRest::Add(Router& router, const char* method, const char* pattern, Scope scope,
                        Answer answer) {
  router.Add(Route(method, pattern, scope,
                   [this, answer](HttpRequest request, std::shared_ptr<Responder> responder) {
                     const auto call = [this, answer, request = std::move(request), responder] {
                       const absl::Status wanted = responder->StillWanted();
                       responder->Respond(wanted.ok() ? (this->*answer)(request)
                                                      : InferenceErrorResponse(wanted));
                     };
                     if (!reads_.Start(call))
                       responder->Respond(InferenceErrorResponse(TooManyRequests()));
                   }));
}

HttpResponse InferenceRest::Ready(const HttpRequest&) {
  const auto services = serving_.All();
  const auto server = services.find("");
  return Empty(server != services.end() ? server->second
                                        : absl::UnavailableError("the server is starting"));
}

HttpResponse InferenceRest::ServerMetadata(const HttpRequest&) {
  inference::ServerMetadataResponse response;
  FillServerMetadata(version_, response);
  response.add_extensions("binary_tensor_data");  // is HTTP's alone
  return Json(JsonOf(response));
}

HttpResponse InferenceRest::ModelMetadata(const HttpRequest& request) {
  inference::ModelMetadataResponse response;
  const absl::StatusOr<v1::ModelVersion> version = ReadPath(request);
  const absl::Status status =
      version.ok() ? FillModelMetadata(models_, *version, response) : version.status();
  return status.ok() ? Json(JsonOf(response)) : InferenceErrorResponse(status);
}

HttpResponse InferenceRest::ModelReady(const HttpRequest& request) {
  const absl::StatusOr<v1::ModelVersion> version = ReadPath(request);
  return Empty(version.ok() ? CheckReady(models_, *version) : version.status());
}

HttpResponse InferenceRest::RepositoryIndex(const HttpRequest& request) {
  inference::RepositoryIndexResponse response;
  const auto index = ReadJsonIndexRequest(request.body);
  const absl::Status status =
      index.ok() ? FillRepositoryIndex(models_, *index,
                                       predictor_.queue().limits().max_response_bytes, response)
                 : index.status();
  return status.ok() ? Json(JsonOf(response)) : InferenceErrorResponse(status);
}

HttpResponse InferenceRest::RepositoryLoad(const HttpRequest& request) {
  auto load = ReadJsonLoadRequest(request.body);
  if (!load.ok()) return InferenceErrorResponse(load.status());
  load->set_model_name(std::string(Find(request.path_values, "name")));
  return Empty(LoadNamedModel(models_, *load));
}

HttpResponse InferenceRest::RepositoryUnload(const HttpRequest& request) {
  auto unload = ReadJsonUnloadRequest(request.body);
  if (!unload.ok()) return InferenceErrorResponse(unload.status());
  unload->set_model_name(std::string(Find(request.path_values, "name")));
  return Empty(UnloadNamedModel(models_, *unload));
}

void InferenceRest::Infer(HttpRequest request, std::shared_ptr<Responder> responder) {
  inferences_.Begin();
  auto inference = std::make_shared<Inference>();
  inference->http = std::move(request);
  inference->responder = std::move(responder);
  if (!json_.Start([this, inference] { Begin(inference); })) End(inference, TooManyRequests());
}

absl::Status InferenceRest::Read(Inference& inference) {
  CONVD_RETURN_IF_ERROR(inference.responder->StillWanted());
  CONVD_ASSIGN_OR_RETURN(const std::optional<size_t> json_bytes, ReadJsonBytes(inference.http));
  if (json_bytes == 0) {
    // Only the model says what the bytes are.
    CONVD_ASSIGN_OR_RETURN(const v1::ModelVersion version, ReadPath(inference.http));
    CONVD_ASSIGN_OR_RETURN(const v1::Model model, models_.Get(version));
    const v1::InputShape& input = model.card().network().input();
    inference.json = RawBinaryInferRequest(inference.http.body,
                                           {input.height(), input.width(), input.channels()});
  } else {
    CONVD_ASSIGN_OR_RETURN(inference.json, ReadJsonInferRequest(inference.http.body, json_bytes));
    inference.http.body = std::string();  // what was read of it has a place of its own
  }
  inference::ModelInferRequest& request = inference.json.request;
  request.set_model_name(std::string(Find(inference.http.path_values, "name")));
  request.set_model_version(std::string(Find(inference.http.path_values, "version")));
  return absl::OkStatus();
}

void InferenceRest::Begin(std::shared_ptr<Inference> inference) {
  if (absl::Status status = Read(*inference); !status.ok()) return End(inference, status);
  Inference& i = *inference;
  convd::Infer(predictor_, i.json.request, i.response,
               {[responder = i.responder] { return responder->StillWanted(); },
                absl::InfiniteFuture(), i.http.came},
               [this, inference = std::move(inference)](const absl::Status& status) {
                 const auto answer = [this, inference, status] { End(inference, status); };
                 // Not on a worker, which has better things to do than writing JSON.
                 if (!json_.StartNext(answer)) answer();
               });
}

void InferenceRest::End(std::shared_ptr<Inference> inference, const absl::Status& status) {
  HttpResponse response;
  if (status.ok()) {
    absl::StatusOr<JsonInferResponse> json =
        WriteJsonInferResponse(inference->response, inference->json.binary_output,
                               static_cast<size_t>(predictor_.queue().limits().max_response_bytes));
    if (json.ok()) {
      response = Json(std::move(json->body));
      if (json->json_bytes.has_value()) {
        response.content_type = "application/octet-stream";
        response.headers.emplace_back("Inference-Header-Content-Length",
                                      absl::StrCat(*json->json_bytes));
      }
    } else {
      response = InferenceErrorResponse(json.status());
    }
  } else {
    response = InferenceErrorResponse(status);
  }
  inference->responder->Respond(std::move(response));
  inference = nullptr;
  inferences_.End();
}

}  // namespace convd
