#ifndef CONVD_SERVER_MODELS_REPOSITORY_H_
#define CONVD_SERVER_MODELS_REPOSITORY_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "convd/v1/models.pb.h"
#include "core/dnn/precision.h"
#include "core/nn/graph.h"
#include "core/storage/file_system.h"
#include "core/time/clock.h"
#include "server/models/loaded_model.h"
#include "server/models/served_precision.h"

namespace convd {

// A request's `model` field: INVALID_ARGUMENT where its name or number can't be a version's, or the
// newest's (0). Any thread may call.
absl::Status CheckModelVersion(const v1::ModelVersion& version);

// The published versions: STATE/models/NAME/N/{model.onnx, model.textproto, MANIFEST}, and the
// evaluations beside them in NAME/N.evaluations.textproto. Any thread may call.
class ModelRepository {
 public:
  virtual ~ModelRepository() = default;

  // Finds what is there already, and removes what an interrupted Publish left under STATE/tmp; so
  // one process at a time per STATE. A version that doesn't match its MANIFEST is left out of the
  // list, with a warning; it never hides the others. (Here all sizes and the card are checked; the
  // weights are when they are loaded.) `fs` and `clock` outlive the repository.
  static absl::StatusOr<std::unique_ptr<ModelRepository>> Open(
      FileSystem& fs, const Clock& clock, const std::string& state_dir,
      CompileModel compile = CompileInferenceModel, PrecisionCheck check = CheckPrecision);

  // Writes the next version of card.model().name() under STATE/tmp, syncs it and renames it into
  // place. Fills in the card's version, created, parameters and network. Nothing is left behind on
  // an error.
  virtual absl::StatusOr<v1::ModelVersion> Publish(const Graph& graph,
                                                   absl::Span<const float> parameters,
                                                   v1::ModelCard card) = 0;

  // Version 0 means the newest that isn't damaged; PRECISION_UNSPECIFIED what the version is served
  // at. NOT_FOUND names what is missing; DATA_LOSS (the same until the files are read again, 10 s
  // later at the earliest) where the files don't match the MANIFEST or each other;
  // FAILED_PRECONDITION where this CPU or the version lacks the precision (CheckServed), which says
  // nothing of other precisions. Weights come from model.onnx. Kept in memory after the first call,
  // each precision by itself. Blocks for tens of milliseconds and more, and only those who want the
  // same version at the same precision.
  virtual absl::StatusOr<std::shared_ptr<const LoadedModel>> Load(const v1::ModelVersion& version,
                                                                  v1::Precision precision) = 0;
  // What Load would return at once; null where it would have to read, or fail. Never blocks.
  virtual std::shared_ptr<const LoadedModel> FindLoaded(const v1::ModelVersion& version,
                                                        v1::Precision precision) {
    (void)version;
    (void)precision;
    return nullptr;
  }

  // The version's weights, canonical and in the order of its card's network; read and checked anew.
  // Version 0 and errors as for Load.
  virtual absl::StatusOr<std::vector<float>> ReadWeights(const v1::ModelVersion& version) {
    (void)version;
    return absl::UnimplementedError("ReadWeights");
  }

  // With the evaluations, the version's folder (absolute), its size and the summary.
  virtual absl::StatusOr<v1::Model> Get(const v1::ModelVersion& version) = 0;
  // By name, newest version first; all names where `name` is empty. Without summaries.
  virtual std::vector<v1::Model> List(const std::string& name) = 0;
  // The same as names and numbers, for those who show a page of them.
  virtual std::vector<v1::ModelVersion> Versions(const std::string& name) {
    std::vector<v1::ModelVersion> versions;
    for (const v1::Model& model : List(name)) versions.push_back(model.card().model());
    return versions;
  }

  // Keeps the figures beside the version that they name, the last 100 of them. On disk before it
  // returns.
  virtual absl::Status AddEvaluation(const v1::Evaluation& evaluation) = 0;

  // What was left out or found damaged since the last call, in words for the log.
  virtual std::vector<std::string> TakeWarnings() { return {}; }
};

}  // namespace convd

#endif  // CONVD_SERVER_MODELS_REPOSITORY_H_
