#ifndef CONVD_SERVER_MODELS_REPOSITORY_H_
#define CONVD_SERVER_MODELS_REPOSITORY_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "convd/v1/models.pb.h"
#include "core/dnn/inference_model.h"
#include "core/nn/graph.h"
#include "core/storage/file_system.h"
#include "core/time/clock.h"

namespace convd {

// A version in memory, ready to answer. Holding the pointer pins it. Immutable; any thread may
// call.
struct LoadedModel {
  v1::ModelCard card;
  std::shared_ptr<const InferenceModel> model;
};

// The published versions: STATE/models/NAME/N/{model.onnx, model.textproto, MANIFEST}, and the
// evaluations beside them in NAME/N.evaluations.textproto. Any thread may call.
class ModelRepository {
 public:
  virtual ~ModelRepository() = default;

  // Finds what is there already. A version that doesn't match its MANIFEST is left out of the list,
  // with a warning from Load; it never hides the others.
  static absl::StatusOr<std::unique_ptr<ModelRepository>> Open(FileSystem& fs, const Clock& clock,
                                                               const std::string& state_dir);

  // Writes the next version of card.model().name() under STATE/tmp, syncs it and renames it into
  // place. Fills in the card's version, created, parameters and network. Nothing is left behind on
  // an error.
  virtual absl::StatusOr<v1::ModelVersion> Publish(const Graph& graph,
                                                   absl::Span<const float> parameters,
                                                   v1::ModelCard card) = 0;

  // Version 0 means the newest. NOT_FOUND names what is missing; DATA_LOSS where the files don't
  // match the MANIFEST. Weights come from model.onnx. Kept in memory after the first call.
  virtual absl::StatusOr<std::shared_ptr<const LoadedModel>> Load(
      const v1::ModelVersion& version) = 0;

  virtual absl::StatusOr<v1::Model> Get(const v1::ModelVersion& version) = 0;
  // By name, newest version first; all names where `name` is empty.
  virtual std::vector<v1::Model> List(const std::string& name) = 0;
  virtual absl::Status AddEvaluation(const v1::Evaluation& evaluation) = 0;
};

}  // namespace convd

#endif  // CONVD_SERVER_MODELS_REPOSITORY_H_
