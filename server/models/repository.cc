#include "server/models/repository.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "core/names/names.h"
#include "core/onnx/onnx_model.h"
#include "core/status/status_macros.h"
#include "server/models/copied_versions.h"
#include "server/models/found_versions.h"
#include "server/models/model_labels.h"
#include "server/models/model_policy.h"
#include "server/models/served_versions.h"
#include "server/models/version_archive.h"
#include "server/models/version_folder.h"

namespace convd {
namespace {

constexpr char kTemporaryPrefix[] = "model-";

// The one who writes: each change is on disk before ServedVersions is told of it.
class DiskModelRepository : public ModelRepository {
 public:
  DiskModelRepository(FileSystem& fs, const Clock& clock, const std::string& state_dir,
                      CompileModel compile, PrecisionCheck check, TakeMemory take_memory)
      : fs_(fs),
        clock_(clock),
        state_dir_(state_dir),
        models_dir_(absl::StrCat(state_dir, "/models")),
        tmp_dir_(absl::StrCat(state_dir, "/tmp")),
        versions_(fs, clock, std::move(compile), std::move(check), std::move(take_memory)),
        labels_(fs, clock, models_dir_, versions_),
        copies_(fs, clock, models_dir_, versions_, change_mu_) {}

  absl::Status Scan();

  absl::StatusOr<v1::ModelVersion> Publish(const Graph& graph, absl::Span<const float> parameters,
                                           v1::ModelCard card) override;
  absl::StatusOr<std::shared_ptr<const LoadedModel>> Load(const v1::ModelVersion& id,
                                                          v1::Precision precision) override {
    CONVD_RETURN_IF_ERROR(CheckModelVersion(id));
    return versions_.Load(id, precision);
  }
  std::shared_ptr<const LoadedModel> FindLoaded(const v1::ModelVersion& id,
                                                v1::Precision precision) override {
    return versions_.FindLoaded(id, precision);
  }
  absl::StatusOr<std::vector<float>> ReadWeights(const v1::ModelVersion& id) override {
    CONVD_RETURN_IF_ERROR(CheckModelVersion(id));
    return versions_.ReadWeights(id);
  }
  absl::StatusOr<v1::Model> Get(const v1::ModelVersion& id) override {
    CONVD_RETURN_IF_ERROR(CheckModelVersion(id));
    return versions_.Get(id);
  }
  std::vector<v1::Model> List(const std::string& name) override { return versions_.List(name); }
  std::vector<v1::ModelVersion> Versions(const std::string& name) override {
    return versions_.Versions(name);
  }
  std::vector<v1::Model> Damaged(const std::string& name) override {
    return versions_.Damaged(name);
  }
  absl::Status AddEvaluation(const v1::Evaluation& evaluation) override;

  absl::StatusOr<v1::ModelPolicy> Policy(const std::string& name) override {
    CONVD_RETURN_IF_ERROR(CheckName("name", name));
    return versions_.Policy(name);
  }
  absl::StatusOr<v1::ModelPolicy> MoveLabel(const std::string& name, const std::string& label,
                                            int64_t version) override {
    absl::MutexLock changing(&change_mu_);
    return labels_.Move(name, label, version);
  }
  absl::StatusOr<v1::ModelPolicy> RollBackLabel(const std::string& name,
                                                const std::string& label) override {
    absl::MutexLock changing(&change_mu_);
    return labels_.RollBack(name, label);
  }
  absl::StatusOr<v1::ModelPolicy> RemoveLabel(const std::string& name,
                                              const std::string& label) override {
    absl::MutexLock changing(&change_mu_);
    return labels_.Remove(name, label);
  }
  absl::StatusOr<v1::ModelPolicy> UpdatePolicy(
      const v1::UpdateModelPolicyRequest& change) override {
    absl::MutexLock changing(&change_mu_);
    return labels_.Update(change);
  }
  absl::Status Delete(const v1::ModelVersion& id) override;
  absl::Status Unload(const v1::ModelVersion& id) override {
    CONVD_RETURN_IF_ERROR(CheckModelVersion(id));
    return versions_.Unload(id);
  }
  absl::Status Export(const v1::ModelVersion& id,
                      absl::FunctionRef<absl::Status(std::string_view)> sink) override;
  std::string NewTemporary() override;
  std::vector<v1::ModelVersion> Maintain(absl::FunctionRef<bool(const v1::ModelVersion&)> used,
                                         absl::FunctionRef<bool()> stopped) override;
  std::vector<std::string> TakeWarnings() override { return versions_.TakeWarnings(); }

 private:
  std::string NameDir(const std::string& name) const { return models_dir_ + "/" + name; }
  absl::StatusOr<int64_t> NextNumber(const std::string& name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mu_);
  absl::Status DeleteLocked(const ServedVersions::Snapshot& known)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mu_);
  // Evaluations of deleted versions up to `highest`, which a crash kept from being removed.
  void RemoveWhatDeletionsLeft(const FoundName& of_name, int64_t highest);
  // What a version that was deleted, from `path`, has left on the disk.
  absl::Status RemoveLeftover(const std::string& path) ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mu_);
  // The parts of Maintain.
  void RemoveLeftovers();
  void DeleteBeyondKept(const std::string& name,
                        absl::FunctionRef<bool(const v1::ModelVersion&)> used,
                        std::vector<v1::ModelVersion>& deleted);

  FileSystem& fs_;
  const Clock& clock_;
  const std::string state_dir_;
  const std::string models_dir_;
  const std::string tmp_dir_;
  std::atomic<int64_t> temporaries_{0};
  ServedVersions versions_;

  // Held during each change of what is on disk, from the choice of a number to its folder's rename,
  // so that numbers have no gaps, and from the look at a policy to its replacement.
  absl::Mutex change_mu_;
  ModelLabels labels_ ABSL_GUARDED_BY(change_mu_);
  // Where deleted versions' folders went, by where they were, until nothing is left of them.
  std::map<std::string, std::string> leftovers_ ABSL_GUARDED_BY(change_mu_);
  CopiedVersions copies_;  // for Maintain alone
};

absl::Status DiskModelRepository::Scan() {
  CONVD_RETURN_IF_ERROR(fs_.CreateDirectories(models_dir_));
  CONVD_RETURN_IF_ERROR(fs_.CreateDirectories(tmp_dir_));
  // What is published later is only as durable as the folders above it.
  CONVD_RETURN_IF_ERROR(fs_.SyncDirectory(state_dir_));
  CONVD_ASSIGN_OR_RETURN(const std::vector<std::string> left, fs_.List(tmp_dir_));
  for (const std::string& name : left) {
    if (!absl::StartsWith(name, kTemporaryPrefix)) continue;
    const std::string path = absl::StrCat(tmp_dir_, "/", name);
    const absl::Status status = fs_.RemoveAll(path);
    versions_.Warn(status.ok()
                       ? absl::StrCat(path, ": removed; a change of the models was interrupted")
                       : absl::StrCat(path, ": can't be removed: ", status.message()));
  }
  CONVD_ASSIGN_OR_RETURN(FoundModels found,
                         FindVersions(
                             fs_, models_dir_, [](const v1::ModelVersion&) { return false; },
                             [](const std::string&, const FileStamp&) { return false; }));
  // A process that ended between a version's rename and the folder's sync left it in the kernel's
  // cache alone, and from here on it is shown.
  CONVD_RETURN_IF_ERROR(fs_.SyncDirectory(models_dir_));
  for (const FoundName& of_name : found.names) {
    CONVD_RETURN_IF_ERROR(fs_.SyncDirectory(NameDir(of_name.name)));
  }
  for (std::string& ignored : found.ignored) versions_.Warn(std::move(ignored));
  for (const FoundName& of_name : found.names) {
    const absl::StatusOr<v1::ModelPolicy> policy = ReadPolicy(fs_, models_dir_, of_name.name);
    versions_.SetPolicy(of_name.name, policy);
    if (policy.ok()) RemoveWhatDeletionsLeft(of_name, policy->highest_version());
    v1::ModelVersion id;
    id.set_name(of_name.name);
    for (const int64_t number : of_name.versions) {
      id.set_version(number);
      versions_.Add(ReadFoundVersion(fs_, models_dir_, id, clock_.Now()));
    }
  }
  return absl::OkStatus();
}

void DiskModelRepository::RemoveWhatDeletionsLeft(const FoundName& of_name, int64_t highest) {
  for (const int64_t number : of_name.evaluations) {
    const std::string path = absl::StrCat(NameDir(of_name.name), "/", number);
    // The policy knows of each deleted version. Beyond that it was somebody else who removed the
    // folder, and the number is known by this file alone.
    if (number > highest || fs_.Exists(path)) continue;
    const absl::Status removed = fs_.Remove(EvaluationsPath(path));
    versions_.Warn(
        absl::StrCat(EvaluationsPath(path), ": ",
                     removed.ok() ? "removed; its version was being deleted" : removed.message()));
  }
}

std::string DiskModelRepository::NewTemporary() {
  // Unique among this process's, and everything older was removed when it began.
  return absl::StrCat(tmp_dir_, "/", kTemporaryPrefix, absl::ToUnixNanos(clock_.Now()), "-",
                      temporaries_.fetch_add(1, std::memory_order_relaxed));
}

absl::StatusOr<v1::ModelVersion> DiskModelRepository::Publish(const Graph& graph,
                                                              absl::Span<const float> parameters,
                                                              v1::ModelCard card) {
  const std::string name = card.model().name();
  CONVD_RETURN_IF_ERROR(CheckName("model.name", name));
  if (static_cast<int64_t>(parameters.size()) != graph.parameter_count()) {
    return absl::InvalidArgumentError(absl::StrCat("parameters: got ", parameters.size(),
                                                   "; the network has ", graph.parameter_count()));
  }
  if (card.labels_size() > graph.classes()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "labels: got ", card.labels_size(), "; the network has ", graph.classes(), " classes"));
  }
  // Classes that the data has no names for are called by their index.
  for (int i = card.labels_size(); i < graph.classes(); ++i) card.add_labels(absl::StrCat(i));
  CONVD_ASSIGN_OR_RETURN(
      const std::string onnx,
      WriteOnnx(graph, parameters,
                std::vector<std::string>(card.labels().begin(), card.labels().end())));
  *card.mutable_network() = graph.network();
  card.set_parameters(graph.parameter_count());
  const timespec now = absl::ToTimespec(clock_.Now());
  card.mutable_created()->set_seconds(now.tv_sec);
  card.mutable_created()->set_nanos(static_cast<int32_t>(now.tv_nsec));

  absl::MutexLock publishing(&change_mu_);
  CONVD_ASSIGN_OR_RETURN(const int64_t number, NextNumber(name));
  card.mutable_model()->set_version(number);
  const std::string tmp = NewTemporary();
  // After the rename there is nothing left to remove.
  const auto sweep = absl::MakeCleanup([&] { fs_.RemoveAll(tmp).IgnoreError(); });
  CONVD_RETURN_IF_ERROR(fs_.CreateDirectories(tmp));
  CONVD_RETURN_IF_ERROR(WriteVersionFolder(fs_, tmp, onnx, card));
  CONVD_ASSIGN_OR_RETURN(CheckedCard checked, ReadCheckedCard(fs_, tmp, card.model()));
  CONVD_RETURN_IF_ERROR(MoveVersionIntoPlace(fs_, tmp, models_dir_, card.model()));

  versions_.Add({card.model(), VersionPath(models_dir_, card.model()), /*files=*/{},
                 std::move(checked), std::vector<v1::Evaluation>()});
  return card.model();
}

absl::StatusOr<int64_t> DiskModelRepository::NextNumber(const std::string& name) {
  // What lies on disk counts, listed or not: nothing is ever written over, and a new version never
  // inherits the evaluations of one that was deleted by hand.
  CONVD_ASSIGN_OR_RETURN(int64_t highest, HighestNumber(fs_, NameDir(name)));
  // Nor does it get the number of one that was deleted, or that a label speaks of.
  highest = std::max(highest, versions_.HighestNumber(name));
  if (highest == std::numeric_limits<int64_t>::max()) {
    return absl::FailedPreconditionError(
        absl::StrCat(NameDir(name), ": holds the highest number that a version can have"));
  }
  return highest + 1;
}

absl::Status DiskModelRepository::AddEvaluation(const v1::Evaluation& evaluation) {
  CONVD_RETURN_IF_ERROR(CheckModelVersion(evaluation.model()));
  if (evaluation.model().version() == 0) {
    return absl::InvalidArgumentError("evaluation.model.version: got 0; want the one evaluated");
  }
  absl::MutexLock changing(&change_mu_);
  CONVD_ASSIGN_OR_RETURN(const ServedVersions::Snapshot known,
                         versions_.FindSnapshot(evaluation.model()));
  const std::string path = EvaluationsPath(known.path);
  absl::StatusOr<std::vector<v1::Evaluation>> kept = versions_.Evaluations(evaluation.model());
  if (!kept.ok()) {
    // What could not be read is never written over: it is read again, or moved aside.
    kept = ReadEvaluations(fs_, path);
    if (absl::IsDataLoss(kept.status())) {
      CONVD_RETURN_IF_ERROR(fs_.Rename(path, path + ".damaged"));
      kept = std::vector<v1::Evaluation>();
    }
    CONVD_RETURN_IF_ERROR(kept.status());
  }
  std::vector<v1::Evaluation> evaluations = *std::move(kept);
  evaluations.push_back(evaluation);
  const std::string text = EvaluationsText(evaluations);
  const std::string tmp = NewTemporary();
  auto sweep = absl::MakeCleanup([&] { fs_.Remove(tmp).IgnoreError(); });
  CONVD_RETURN_IF_ERROR(WriteSynced(fs_, tmp, text));
  CONVD_RETURN_IF_ERROR(fs_.Rename(tmp, path));
  std::move(sweep).Cancel();
  // As it lies there, also where the sync fails.
  versions_.SetEvaluations(evaluation.model(), std::move(evaluations));
  return fs_.SyncDirectory(NameDir(evaluation.model().name()));
}

// Deleting.

absl::Status DiskModelRepository::Delete(const v1::ModelVersion& id) {
  CONVD_RETURN_IF_ERROR(CheckModelVersion(id));
  if (id.version() == 0) {
    return absl::InvalidArgumentError("model.version: got 0; want the number of the one to delete");
  }
  absl::MutexLock changing(&change_mu_);
  CONVD_ASSIGN_OR_RETURN(const ServedVersions::Snapshot known, versions_.FindSnapshot(id));
  return DeleteLocked(known);
}

absl::Status DiskModelRepository::DeleteLocked(const ServedVersions::Snapshot& known) {
  CONVD_ASSIGN_OR_RETURN(v1::ModelPolicy policy, versions_.Policy(known.id.name()));
  if (known.labelled) {
    std::vector<std::string> labels;
    for (const v1::ModelLabel& label : policy.labels()) {
      if (label.version() == known.id.version()) labels.push_back(label.label());
    }
    return absl::FailedPreconditionError(absl::StrCat(
        "model: version ", known.id.version(), " of \"", known.id.name(), "\" is labelled ",
        absl::StrJoin(labels, ", "), "; move or remove the label first"));
  }
  if (policy.highest_version() < known.id.version()) {
    policy.set_highest_version(known.id.version());
    CONVD_RETURN_IF_ERROR(labels_.Set(std::move(policy)).status());
  }
  // After the policy, which lets go of what nothing stands for yet.
  CONVD_RETURN_IF_ERROR(versions_.PrepareToLose(known.id));
  const std::string tmp = NewTemporary();
  CONVD_RETURN_IF_ERROR(fs_.Rename(known.path, tmp));
  // From here on it is gone, though until the sync a crash may bring it back, whole and with its
  // evaluations.
  versions_.Remove(known.id);
  leftovers_[known.path] = tmp;
  return RemoveLeftover(known.path);
}

absl::Status DiskModelRepository::RemoveLeftover(const std::string& path) {
  const absl::Status synced = fs_.SyncDirectory(path.substr(0, path.rfind('/')));
  if (!absl::IsNotFound(synced)) CONVD_RETURN_IF_ERROR(synced);  // else the name is gone, too
  const std::string evaluations = EvaluationsPath(path);
  // Unless somebody has copied the version back since.
  if (fs_.Exists(evaluations) && !fs_.Exists(path)) CONVD_RETURN_IF_ERROR(fs_.Remove(evaluations));
  CONVD_RETURN_IF_ERROR(fs_.RemoveAll(leftovers_[path]));
  leftovers_.erase(path);
  return absl::OkStatus();
}

void DiskModelRepository::RemoveLeftovers() {
  absl::MutexLock changing(&change_mu_);
  std::vector<std::string> paths;
  for (const auto& [path, tmp] : leftovers_) paths.push_back(path);
  // What fails was said by the deletion, and is tried again.
  for (const std::string& path : paths) RemoveLeftover(path).IgnoreError();
}

absl::Status DiskModelRepository::Export(const v1::ModelVersion& id,
                                         absl::FunctionRef<absl::Status(std::string_view)> sink) {
  CONVD_RETURN_IF_ERROR(CheckModelVersion(id));
  CONVD_ASSIGN_OR_RETURN(const v1::Model model, versions_.Get(id));
  return WriteVersionArchive(fs_, model.path(), model.card().model(), sink);
}

// Maintenance.

std::vector<v1::ModelVersion> DiskModelRepository::Maintain(
    absl::FunctionRef<bool(const v1::ModelVersion&)> used, absl::FunctionRef<bool()> stopped) {
  RemoveLeftovers();
  copies_.Look(stopped);
  for (const std::string& name : versions_.Names()) {
    absl::MutexLock changing(&change_mu_);
    labels_.ReadAgain(name);
  }
  versions_.ReadDamagedAgain(stopped);
  {
    // Nothing that is loaded now to take over in a moment.
    absl::MutexLock changing(&change_mu_);
    versions_.Retire();
  }
  std::vector<v1::ModelVersion> deleted;
  for (const std::string& name : versions_.Names()) {
    if (stopped()) break;
    DeleteBeyondKept(name, used, deleted);
  }
  return deleted;
}

void DiskModelRepository::DeleteBeyondKept(const std::string& name,
                                           absl::FunctionRef<bool(const v1::ModelVersion&)> used,
                                           std::vector<v1::ModelVersion>& deleted) {
  absl::StatusOr<v1::ModelPolicy> policy = versions_.Policy(name);
  if (!policy.ok() || policy->keep() == 0) return;
  absl::MutexLock unused(&in_use());
  absl::MutexLock changing(&change_mu_);
  policy = versions_.Policy(name);
  if (!policy.ok() || policy->keep() == 0) return;
  int64_t kept = 0;
  for (const ServedVersions::Snapshot& known : versions_.Snapshots(name)) {
    if (known.damaged || known.load_failed || known.labelled || known.rolls_back) continue;
    if (++kept <= policy->keep() || known.in_use || used(known.id)) continue;
    if (const absl::Status status = DeleteLocked(known); !status.ok()) {
      versions_.Warn(
          absl::StrCat("model ", name, " version ", known.id.version(),
                       " is beyond those to keep and can't be deleted: ", status.message()));
      return;
    }
    deleted.push_back(known.id);
  }
}

}  // namespace

absl::Status CheckModelVersion(const v1::ModelVersion& version) {
  CONVD_RETURN_IF_ERROR(CheckName("model.name", version.name()));
  if (version.version() < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("model.version: got ", version.version(),
                     "; want a version's number, or 0 for the name's default"));
  }
  if (version.label().empty()) return absl::OkStatus();
  if (version.version() != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("model.label: got one beside version ", version.version(), "; want either"));
  }
  return CheckLabel("model.label", version.label());
}

absl::StatusOr<std::unique_ptr<ModelRepository>> ModelRepository::Open(
    FileSystem& fs, const Clock& clock, const std::string& state_dir, CompileModel compile,
    PrecisionCheck check, TakeMemory take_memory) {
  const bool made_state_dir = !fs.Exists(state_dir);
  CONVD_RETURN_IF_ERROR(fs.CreateDirectories(state_dir));
  // Absolute and without links, as paths are shown and compared.
  CONVD_ASSIGN_OR_RETURN(const std::string canonical, fs.Canonical(state_dir));
  if (made_state_dir) {
    // As far as it may be read: the folders above STATE are not this program's.
    fs.SyncDirectory(canonical.substr(0, std::max<size_t>(1, canonical.rfind('/')))).IgnoreError();
  }
  auto repository = std::make_unique<DiskModelRepository>(fs, clock, canonical, std::move(compile),
                                                          std::move(check), std::move(take_memory));
  CONVD_RETURN_IF_ERROR(repository->Scan());
  return repository;
}

}  // namespace convd
