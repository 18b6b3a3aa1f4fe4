#ifndef CONVD_SERVER_MODELS_REPOSITORY_H_
#define CONVD_SERVER_MODELS_REPOSITORY_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "convd/v1/models.pb.h"
#include "core/dnn/precision.h"
#include "core/nn/graph.h"
#include "core/storage/file_system.h"
#include "core/time/clock.h"
#include "server/models/loaded_model.h"
#include "server/models/served_precision.h"

namespace convd {

// A request's `model` field: INVALID_ARGUMENT where its name, number or label can't be one, or both
// of the latter are there. Any thread may call.
absl::Status CheckModelVersion(const v1::ModelVersion& version);

// The published versions: STATE/models/NAME/N/{model.onnx, model.textproto, MANIFEST}, the
// evaluations beside them in NAME/N.evaluations.textproto, and what labels stand for in
// NAME/policy.textproto. A v1::ModelVersion names a version by its number, by a label, or as its
// name's default. Any thread may call.
//
// A newer version, or one that a label is moved to, takes over from another that is in memory
// without a request waiting or failing: see served_versions.h.
class ModelRepository {
 public:
  virtual ~ModelRepository() = default;

  // Finds what is there already, and removes what an interrupted Publish left under STATE/tmp; so
  // one process at a time per STATE. A version that doesn't match its MANIFEST is left out of the
  // list, with a warning; it never hides the others. (Here all sizes and the card are checked; the
  // weights are when they are loaded.) `fs` and `clock` outlive the repository, and what
  // `take_memory` takes from every model.
  static absl::StatusOr<std::unique_ptr<ModelRepository>> Open(
      FileSystem& fs, const Clock& clock, const std::string& state_dir,
      CompileModel compile = CompileInferenceModel, PrecisionCheck check = CheckPrecision,
      TakeMemory take_memory = NoLimitOfMemory);

  // Writes the next version of card.model().name() under STATE/tmp, syncs it and renames it into
  // place. Fills in the card's version, created, parameters and network. Nothing is left behind on
  // an error.
  virtual absl::StatusOr<v1::ModelVersion> Publish(const Graph& graph,
                                                   absl::Span<const float> parameters,
                                                   v1::ModelCard card) = 0;

  // The newest means the newest that isn't damaged; PRECISION_UNSPECIFIED what the version is
  // served at. NOT_FOUND names what is missing; RESOURCE_EXHAUSTED what memory it would take,
  // before any of it is read; DATA_LOSS (the same until the files are read again, seconds later)
  // where the files don't match the MANIFEST or each other; FAILED_PRECONDITION where this CPU or
  // the version lacks the precision (CheckServed), which says nothing of other precisions. Weights
  // come from model.onnx. Kept in memory after the first call, each precision by itself. Blocks for
  // tens of milliseconds and more, and only those who want the same version at the same precision.
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
  // Errors as for Load.
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
  // returns; after an error they may be kept all the same.
  virtual absl::Status AddEvaluation(const v1::Evaluation& evaluation) = 0;

  // At most a hundred versions that can't be served, of one name or all: which and why.
  virtual std::vector<v1::Model> Damaged(const std::string& name) {
    (void)name;
    return {};
  }

  // NOT_FOUND where the name has no version. Changes are on disk before they return; after an error
  // either what was or the change is there after a restart.
  virtual absl::StatusOr<v1::ModelPolicy> Policy(const std::string& name) {
    (void)name;
    return absl::UnimplementedError("Policy");
  }
  // The label, or the name itself, goes on standing for what it does where the new version, 0 being
  // the newest, is damaged or can't be loaded. `label` isn't "latest".
  virtual absl::StatusOr<v1::ModelPolicy> MoveLabel(const std::string& name,
                                                    const std::string& label, int64_t version) {
    (void)name, (void)label, (void)version;
    return absl::UnimplementedError("MoveLabel");
  }
  // Back to where it was before; `label` empty means the default one. FAILED_PRECONDITION where it
  // was nowhere before.
  virtual absl::StatusOr<v1::ModelPolicy> RollBackLabel(const std::string& name,
                                                        const std::string& label) {
    (void)name, (void)label;
    return absl::UnimplementedError("RollBackLabel");
  }
  virtual absl::StatusOr<v1::ModelPolicy> RemoveLabel(const std::string& name,
                                                      const std::string& label) {
    (void)name, (void)label;
    return absl::UnimplementedError("RemoveLabel");
  }
  virtual absl::StatusOr<v1::ModelPolicy> UpdatePolicy(const v1::UpdateModelPolicyRequest& change) {
    (void)change;
    return absl::UnimplementedError("UpdatePolicy");
  }

  // Of a version by its number, with its evaluations; a damaged one, too. What is held of it by
  // requests stays as it is, and its number isn't given again. Of the newest, where it is in
  // memory, the one before it is loaded first, and it stays where that fails. FAILED_PRECONDITION
  // names its labels.
  virtual absl::Status Delete(const v1::ModelVersion& version) {
    (void)version;
    return absl::UnimplementedError("Delete");
  }
  // Held shared by who accepts what begins with a version's weights, from the look at the version
  // to the acceptance; held exclusively by who deletes one, from the look for its users on.
  absl::Mutex& in_use() ABSL_LOCK_RETURNED(in_use_) { return in_use_; }

  // Gives back the memory of one version, or of all of a name where neither number nor label is
  // said, once no request holds it; it is loaded again when it is asked for.
  virtual absl::Status Unload(const v1::ModelVersion& version) {
    (void)version;
    return absl::UnimplementedError("Unload");
  }

  // The version's folder as an archive (version_archive.h), handed to `sink` until that fails.
  virtual absl::Status Export(const v1::ModelVersion& version,
                              absl::FunctionRef<absl::Status(std::string_view)> sink) {
    (void)version, (void)sink;
    return absl::UnimplementedError("Export");
  }
  // Where an import may keep what comes: a path under STATE/tmp that isn't there yet.
  virtual std::string NewTemporary() { return ""; }

  // To be called every few seconds. Takes up versions that were copied in by hand, each once all
  // its bytes are there; forgets those that were removed by hand, unless they are in memory;
  // deletes versions beyond those that their names' policies keep, unless they have a label, answer
  // a request or are in `used` (asked with in_use() held); and lets go of what need not be in
  // memory. Returns what it deleted; what failed is a warning. Ends early, within milliseconds
  // where it reads, once `stopped` says so. One call at a time.
  virtual std::vector<v1::ModelVersion> Maintain(
      absl::FunctionRef<bool(const v1::ModelVersion&)> used,
      absl::FunctionRef<bool()> stopped = [] { return false; }) {
    (void)used, (void)stopped;
    return {};
  }

  // What was left out or found damaged since the last call, in words for the log.
  virtual std::vector<std::string> TakeWarnings() { return {}; }

 private:
  absl::Mutex in_use_;
};

}  // namespace convd

#endif  // CONVD_SERVER_MODELS_REPOSITORY_H_
