#include "server/inference/model_state.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/nn/graph.h"
#include "core/onnx/onnx_names.h"
#include "core/status/status_macros.h"
#include "server/inference/infer_request.h"
#include "server/inference/parameters.h"
#include "server/predict/model_loading.h"

namespace convd {
namespace {

// The protocol's form is PROJECT_FORMAT. What is served is model.onnx, but not by ONNX Runtime,
// whose word is "onnxruntime_onnx".
constexpr char kPlatform[] = "convd_onnx";

constexpr char kReady[] = "READY";
constexpr char kUnavailable[] = "UNAVAILABLE";

constexpr int64_t kAnySize = -1;

absl::Status CheckRepository(const std::string& name) {
  if (name.empty()) return absl::OkStatus();
  return absl::UnimplementedError("repository_name: this server has one repository; want none");
}

}  // namespace

void FillServerMetadata(const std::string& version, inference::ServerMetadataResponse& response) {
  response.set_name("convd");
  response.set_version(version);
  // No model depends on another, so those are unloaded, too, all of them.
  for (const char* extension :
       {"classification", "model_repository", "model_repository(unload_dependents)"}) {
    response.add_extensions(extension);
  }
}

absl::Status FillModelMetadata(ModelRepository& models, const v1::ModelVersion& version,
                               inference::ModelMetadataResponse& response) {
  CONVD_ASSIGN_OR_RETURN(const v1::Model model, models.Get(version));
  CONVD_ASSIGN_OR_RETURN(const Graph graph, Graph::Create(model.card().network()));
  response.set_name(model.card().model().name());
  std::vector<v1::ModelVersion> versions = models.Versions(version.name());
  std::reverse(versions.begin(), versions.end());
  for (const v1::ModelVersion& of_name : versions) {
    response.add_versions(absl::StrCat(of_name.version()));
  }
  response.set_platform(kPlatform);
  auto& input = *response.add_inputs();
  input.set_name(kOnnxInput);
  input.set_datatype("UINT8");
  const Shape shape = graph.input();
  for (const int64_t size :
       {kAnySize, int64_t{shape.height}, int64_t{shape.width}, int64_t{shape.channels}}) {
    input.add_shape(size);
  }
  auto& output = *response.add_outputs();
  output.set_name(kOnnxOutput);
  output.set_datatype("FP32");
  output.add_shape(kAnySize);
  output.add_shape(graph.classes());
  return absl::OkStatus();
}

absl::Status CheckReady(ModelRepository& models, const v1::ModelVersion& version,
                        const PrecisionCheck& check) {
  CONVD_ASSIGN_OR_RETURN(const v1::Model model, models.Get(version));
  return CheckServed(model.card(), v1::PRECISION_UNSPECIFIED, check);
}

absl::Status FillRepositoryIndex(ModelRepository& models,
                                 const inference::RepositoryIndexRequest& request,
                                 int64_t max_bytes, inference::RepositoryIndexResponse& response,
                                 const PrecisionCheck& check) {
  CONVD_RETURN_IF_ERROR(CheckRepository(request.repository_name()));
  const bool ready_only = request.ready();
  int64_t bytes = 0;
  const auto add = [&](const v1::ModelVersion& id, const char* state, std::string reason) {
    inference::RepositoryIndexResponse::ModelIndex& entry = *response.add_models();
    entry.set_name(id.name());
    entry.set_version(absl::StrCat(id.version()));
    entry.set_state(state);
    entry.set_reason(std::move(reason));
    bytes += static_cast<int64_t>(entry.ByteSizeLong()) + 6;  // its tag and length
    if (bytes <= max_bytes) return absl::OkStatus();
    return absl::OutOfRangeError(
        absl::StrCat("this server has more versions than an answer of ", max_bytes,
                     " bytes can name (--max-message-mb); list them with convd.v1.Models"));
  };
  for (const v1::ModelVersion& id : models.Versions("")) {
    const absl::StatusOr<v1::Model> model = models.Get(id);
    if (!model.ok()) continue;  // found damaged since, or deleted
    const absl::Status ready = CheckServed(model->card(), v1::PRECISION_UNSPECIFIED, check);
    if (!ready.ok()) {
      if (!ready_only) {
        CONVD_RETURN_IF_ERROR(add(id, kUnavailable, std::string(ready.message())));
      }
    } else if (model->in_memory_size() > 0) {
      CONVD_RETURN_IF_ERROR(add(id, kReady, ""));
    } else {
      CONVD_RETURN_IF_ERROR(add(id, kReady, "not in memory; the first request loads it"));
    }
  }
  if (ready_only) return absl::OkStatus();
  for (const v1::Model& damaged : models.Damaged("")) {
    CONVD_RETURN_IF_ERROR(add(damaged.card().model(), kUnavailable, damaged.damage()));
  }
  return absl::OkStatus();
}

absl::Status LoadNamedModel(ModelRepository& models,
                            const inference::RepositoryModelLoadRequest& request) {
  CONVD_RETURN_IF_ERROR(CheckRepository(request.repository_name()));
  CONVD_RETURN_IF_ERROR(CheckParameters("parameters", request.parameters()));
  CONVD_ASSIGN_OR_RETURN(const v1::ModelVersion version,
                         ReadNamedVersion("model_name", request.model_name(), "", ""));
  return LoadModel(models, version, v1::PRECISION_UNSPECIFIED).status();
}

absl::Status UnloadNamedModel(ModelRepository& models,
                              const inference::RepositoryModelUnloadRequest& request) {
  CONVD_RETURN_IF_ERROR(CheckRepository(request.repository_name()));
  CONVD_RETURN_IF_ERROR(CheckParameters("parameters", request.parameters(), "unload_dependents"));
  CONVD_ASSIGN_OR_RETURN(const v1::ModelVersion version,
                         ReadNamedVersion("model_name", request.model_name(), "", ""));
  return models.Unload(version);
}

}  // namespace convd
