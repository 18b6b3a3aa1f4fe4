#ifndef CONVD_SERVER_MODELS_LOADED_MODEL_H_
#define CONVD_SERVER_MODELS_LOADED_MODEL_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "convd/v1/model.pb.h"
#include "core/dnn/inference_model.h"
#include "core/nn/graph.h"
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

// What was read from the version's folder, `path`, at a precision. Errors name the path;
// FAILED_PRECONDITION as `compile` has it, and nothing that blames the caller or the files, which
// are whole. Any thread may call.
absl::StatusOr<std::shared_ptr<const LoadedModel>> CompileWeights(const CompileModel& compile,
                                                                  CheckedWeights weights,
                                                                  const std::string& path,
                                                                  v1::Precision precision);

}  // namespace convd

#endif  // CONVD_SERVER_MODELS_LOADED_MODEL_H_
