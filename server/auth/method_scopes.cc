#include "server/auth/method_scopes.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace convd {
namespace {

constexpr MethodScope kMethods[] = {
    {"/convd.v1.Datasets/DeleteDataset", Scope::kTrain, true},
    {"/convd.v1.Datasets/DeleteUpload", Scope::kTrain, true},
    {"/convd.v1.Datasets/GetDataset", Scope::kRead, false},
    {"/convd.v1.Datasets/GetSamples", Scope::kRead, false},
    // A step of going on with an upload.
    {"/convd.v1.Datasets/GetUpload", Scope::kTrain, false},
    {"/convd.v1.Datasets/ListDatasets", Scope::kRead, false},
    {"/convd.v1.Datasets/ListUploads", Scope::kRead, false},
    {"/convd.v1.Datasets/RegisterDataset", Scope::kTrain, true},
    {"/convd.v1.Datasets/UploadDataset", Scope::kTrain, true},
    {"/convd.v1.Evaluator/Evaluate", Scope::kPredict, false},
    {"/convd.v1.Jobs/CancelJob", Scope::kTrain, true},
    {"/convd.v1.Jobs/GetJob", Scope::kRead, false},
    {"/convd.v1.Jobs/ListJobs", Scope::kRead, false},
    {"/convd.v1.Jobs/PauseJob", Scope::kTrain, true},
    {"/convd.v1.Jobs/ResumeJob", Scope::kTrain, true},
    {"/convd.v1.Jobs/Train", Scope::kTrain, true},
    {"/convd.v1.Jobs/UpdateJob", Scope::kTrain, true},
    {"/convd.v1.Jobs/WatchJob", Scope::kRead, false},
    {"/convd.v1.Models/DeleteModel", Scope::kAdmin, true},
    {"/convd.v1.Models/ExplainModel", Scope::kRead, false},
    {"/convd.v1.Models/ExportModel", Scope::kRead, false},
    {"/convd.v1.Models/ExportOnnx", Scope::kRead, false},
    {"/convd.v1.Models/GetModel", Scope::kRead, false},
    {"/convd.v1.Models/GetModelPolicy", Scope::kRead, false},
    {"/convd.v1.Models/ImportModel", Scope::kAdmin, true},
    {"/convd.v1.Models/ListModels", Scope::kRead, false},
    {"/convd.v1.Models/LoadModel", Scope::kAdmin, true},
    {"/convd.v1.Models/MoveLabel", Scope::kAdmin, true},
    {"/convd.v1.Models/RemoveLabel", Scope::kAdmin, true},
    {"/convd.v1.Models/RollBackLabel", Scope::kAdmin, true},
    {"/convd.v1.Models/UnloadModel", Scope::kAdmin, true},
    {"/convd.v1.Models/UpdateModelPolicy", Scope::kAdmin, true},
    {"/convd.v1.Predictor/Predict", Scope::kPredict, false},
    {"/convd.v1.Predictor/PredictStream", Scope::kPredict, false},
    {"/inference.GRPCInferenceService/ModelInfer", Scope::kPredict, false},
    {"/inference.GRPCInferenceService/ModelMetadata", Scope::kRead, false},
    {"/inference.GRPCInferenceService/ModelReady", Scope::kRead, false},
    {"/inference.GRPCInferenceService/RepositoryIndex", Scope::kRead, false},
    {"/inference.GRPCInferenceService/RepositoryModelLoad", Scope::kAdmin, true},
    {"/inference.GRPCInferenceService/RepositoryModelUnload", Scope::kAdmin, true},
    // What orchestrators probe, as they do grpc.health.
    {"/inference.GRPCInferenceService/ServerLive", Scope::kNone, false},
    {"/inference.GRPCInferenceService/ServerMetadata", Scope::kRead, false},
    {"/inference.GRPCInferenceService/ServerReady", Scope::kNone, false},
};

}  // namespace

absl::Span<const MethodScope> MethodScopes() { return kMethods; }

const MethodScope* FindMethodScope(absl::string_view method) {
  const auto* const found =
      std::lower_bound(std::begin(kMethods), std::end(kMethods), method,
                       [](const MethodScope& a, absl::string_view b) { return a.method < b; });
  return found != std::end(kMethods) && found->method == method ? found : nullptr;
}

absl::Status CheckMethodScopes(const std::vector<std::string>& services) {
  std::vector<std::string> methods;
  for (const std::string& name : services) {
    const google::protobuf::ServiceDescriptor* const service =
        google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(name);
    if (service == nullptr) {
      return absl::InternalError(absl::StrCat("nothing is known of the service ", name,
                                              ", so who may call it isn't either"));
    }
    for (int i = 0; i < service->method_count(); ++i) {
      methods.push_back(absl::StrCat("/", name, "/", service->method(i)->name()));
      if (FindMethodScope(methods.back()) != nullptr) continue;
      return absl::InternalError(
          absl::StrCat(methods.back(), " has no scope; name it in server/auth/method_scopes.cc"));
    }
  }
  for (const MethodScope& method : kMethods) {
    if (std::find(methods.begin(), methods.end(), method.method) != methods.end()) continue;
    return absl::InternalError(absl::StrCat("server/auth/method_scopes.cc names ", method.method,
                                            ", which no service has"));
  }
  return absl::OkStatus();
}

}  // namespace convd
