#include "server/models/loaded_model.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

struct CountedModel {
  MemoryLedger::Share memory;  // given back after the model is gone
  std::shared_ptr<const InferenceModel> model;
};

}  // namespace

absl::StatusOr<ModelMemory> TakeMemoryToLoad(MemoryLedger& ledger, int workers, const Graph& graph,
                                             v1::Precision precision, int64_t file_bytes) {
  const int64_t weights = graph.parameter_count() * static_cast<int64_t>(sizeof(float));
  ModelMemory memory;
  memory.loaded_bytes = EstimateInferenceMemory(graph, precision, workers);
  CONVD_ASSIGN_OR_RETURN(memory.share,
                         ledger.TakeForModel(weights + std::max(file_bytes, memory.loaded_bytes)));
  return memory;
}

absl::StatusOr<ModelMemory> TakeMemoryFor(const TakeMemory& take, const v1::ModelCard& card,
                                          const std::string& path, v1::Precision precision,
                                          int64_t file_bytes) {
  CONVD_ASSIGN_OR_RETURN(const Graph graph, Graph::Create(card.network()));
  absl::StatusOr<ModelMemory> taken = take(graph, precision, file_bytes);
  if (taken.ok()) return taken;
  return absl::Status(taken.status().code(), absl::StrCat(path, ": ", taken.status().message()));
}

absl::StatusOr<std::shared_ptr<const LoadedModel>> CompileWeights(const CompileModel& compile,
                                                                  CheckedWeights weights,
                                                                  const std::string& path,
                                                                  v1::Precision precision,
                                                                  ModelMemory memory) {
  absl::StatusOr<std::shared_ptr<const InferenceModel>> model =
      compile(weights.graph, weights.parameters,
              {.precision = precision, .quantization = &weights.card.quantization()});
  if (!model.ok()) {
    const bool ours = absl::IsInvalidArgument(model.status()) || absl::IsDataLoss(model.status());
    const absl::StatusCode code = ours ? absl::StatusCode::kInternal : model.status().code();
    return absl::Status(code, absl::StrCat(path, ": ", model.status().message()));
  }
  weights.parameters = {};
  memory.share.ShrinkTo(memory.loaded_bytes);
  auto counted =
      std::make_shared<CountedModel>(CountedModel{std::move(memory.share), *std::move(model)});
  const InferenceModel* const compiled = counted->model.get();
  return std::make_shared<const LoadedModel>(
      LoadedModel{std::move(weights.card),
                  std::shared_ptr<const InferenceModel>(std::move(counted), compiled), precision});
}

}  // namespace convd
