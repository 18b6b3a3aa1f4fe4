#ifndef CONVD_SERVER_MODELS_LOADED_MODEL_H_
#define CONVD_SERVER_MODELS_LOADED_MODEL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "convd/v1/model.pb.h"
#include "core/dnn/inference_model.h"
#include "core/nn/graph.h"
#include "server/memory_ledger.h"
#include "server/models/version_folder.h"

namespace convd {

// A version in memory, ready to answer. Holding the pointer pins it. Immutable; any thread may
// call.
struct LoadedModel {
  v1::ModelCard card;
  std::shared_ptr<const InferenceModel> model;
  v1::Precision precision = v1::PRECISION_F32;  // that it computes in
};

// CompileInferenceModel, or what a test puts in its place.
using CompileModel = std::function<absl::StatusOr<std::shared_ptr<const InferenceModel>>(
    const Graph&, absl::Span<const float>, const InferenceOptions&)>;

// What one version, at one precision, has of the memory.
struct ModelMemory {
  MemoryLedger::Share share;
  int64_t loaded_bytes = 0;  // what it keeps once it is loaded
};
// Asked before anything of a version is read whose files have so many bytes together.
// RESOURCE_EXHAUSTED with the figures where it doesn't fit. Any thread may call.
using TakeMemory =
    std::function<absl::StatusOr<ModelMemory>(const Graph&, v1::Precision, int64_t file_bytes)>;

inline absl::StatusOr<ModelMemory> NoLimitOfMemory(const Graph&, v1::Precision, int64_t) {
  return ModelMemory();
}

// Of `ledger`, for answers of so many workers. Beside the weights as they are read there is first
// their file and then what is compiled of them.
absl::StatusOr<ModelMemory> TakeMemoryToLoad(MemoryLedger& ledger, int workers, const Graph& graph,
                                             v1::Precision precision, int64_t file_bytes);

// The same of the version at `path`, by its card. Errors name the path.
absl::StatusOr<ModelMemory> TakeMemoryFor(const TakeMemory& take, const v1::ModelCard& card,
                                          const std::string& path, v1::Precision precision,
                                          int64_t file_bytes);

// What was read from the version's folder, `path`, at a precision. Has `memory` until the last
// pointer to its model is gone. Errors name the path; FAILED_PRECONDITION as `compile` has it, and
// nothing that blames the caller or the files, which are whole. Any thread may call.
absl::StatusOr<std::shared_ptr<const LoadedModel>> CompileWeights(const CompileModel& compile,
                                                                  CheckedWeights weights,
                                                                  const std::string& path,
                                                                  v1::Precision precision,
                                                                  ModelMemory memory);

}  // namespace convd

#endif  // CONVD_SERVER_MODELS_LOADED_MODEL_H_
