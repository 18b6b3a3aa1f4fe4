#include "server/models/repository.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/names/names.h"
#include "core/nn/summary.h"
#include "core/onnx/onnx_model.h"
#include "core/status/status_macros.h"
#include "server/models/found_versions.h"
#include "server/models/version_folder.h"

namespace convd {
namespace {

constexpr char kTemporaryPrefix[] = "model-";
// How long a damaged version is taken for damaged before its files are read again.
constexpr absl::Duration kReadAgainAfter = absl::Seconds(10);
constexpr size_t kMaxWarnings = 1000;

// One version at one precision. Guarded by the repository's mutex; never removed.
struct Served {
  std::shared_ptr<const LoadedModel> loaded;
  bool loading = false;
  absl::Status error;  // of the last attempt
  absl::Duration error_time;
};

// What is known of one version. Guarded by the repository's mutex; never removed.
struct Version {
  v1::ModelVersion id;
  std::string path;
  std::shared_ptr<const v1::ModelCard> card;  // null where it could not be read
  int64_t size_bytes = 0;
  // Oldest first; an error where the file was there and could not be read.
  absl::StatusOr<std::vector<v1::Evaluation>> evaluations = std::vector<v1::Evaluation>();
  std::map<v1::Precision, Served> served;
  absl::Status error;  // of the last reading
  absl::Duration error_time;

  bool listed() const { return card != nullptr && !absl::IsDataLoss(error); }
  bool in_memory() const {
    return std::any_of(served.begin(), served.end(),
                       [](const auto& s) { return s.second.loaded != nullptr; });
  }
};

class DiskModelRepository : public ModelRepository {
 public:
  DiskModelRepository(FileSystem& fs, const Clock& clock, const std::string& state_dir,
                      CompileModel compile, PrecisionCheck check)
      : fs_(fs),
        clock_(clock),
        state_dir_(state_dir),
        models_dir_(absl::StrCat(state_dir, "/models")),
        tmp_dir_(absl::StrCat(state_dir, "/tmp")),
        compile_(std::move(compile)),
        check_(std::move(check)) {}

  absl::Status Scan();

  absl::StatusOr<v1::ModelVersion> Publish(const Graph& graph, absl::Span<const float> parameters,
                                           v1::ModelCard card) override;
  absl::StatusOr<std::shared_ptr<const LoadedModel>> Load(const v1::ModelVersion& id,
                                                          v1::Precision precision) override;
  std::shared_ptr<const LoadedModel> FindLoaded(const v1::ModelVersion& id,
                                                v1::Precision precision) override;
  absl::StatusOr<std::vector<float>> ReadWeights(const v1::ModelVersion& id) override;
  absl::StatusOr<v1::Model> Get(const v1::ModelVersion& id) override;
  std::vector<v1::Model> List(const std::string& name) override;
  std::vector<v1::ModelVersion> Versions(const std::string& name) override;
  absl::Status AddEvaluation(const v1::Evaluation& evaluation) override;
  std::vector<std::string> TakeWarnings() override;

 private:
  using VersionsByNumber = std::map<int64_t, Version, std::greater<>>;  // newest first

  std::string NameDir(const std::string& name) const { return models_dir_ + "/" + name; }
  std::string NewTemporary();
  absl::StatusOr<int64_t> NextNumber(const std::string& name);
  absl::StatusOr<std::shared_ptr<const LoadedModel>> LoadVersion(Version& version,
                                                                 v1::Precision requested);
  // Reads the card of a version that was damaged, or whose card was never read.
  absl::Status ReadCardAgain(Version& version, v1::Precision requested) ABSL_LOCKS_EXCLUDED(mu_);
  // Null where it was never asked for.
  static const Served* FindServed(const Version& version, v1::Precision requested);
  // Null where it isn't in memory.
  static std::shared_ptr<const LoadedModel> Find(const Version& version, v1::Precision requested);

  // NOT_FOUND says what there is.
  absl::StatusOr<VersionsByNumber*> FindName(const std::string& name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Of `id`, or the newest listed one; DATA_LOSS where that is damaged.
  absl::StatusOr<Version*> FindListed(const v1::ModelVersion& id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // True while it is too early to read a damaged version again.
  bool KnownDamaged(const Version& version) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return KnownDamaged(version.error, version.error_time);
  }
  // Or what it could not be read for once another precision was in memory.
  bool KnownDamaged(const Version& version, v1::Precision requested) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (KnownDamaged(version)) return true;
    const Served* const served = FindServed(version, requested);
    return served != nullptr && KnownDamaged(served->error, served->error_time);
  }
  bool KnownDamaged(const absl::Status& error, absl::Duration time) const {
    return absl::IsDataLoss(error) && clock_.Monotonic() - time < kReadAgainAfter;
  }
  void SetError(Version& version, absl::Status error) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Warn(std::string text) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static v1::Model Describe(const Version& version);

  FileSystem& fs_;
  const Clock& clock_;
  const std::string state_dir_;
  const std::string models_dir_;
  const std::string tmp_dir_;
  const CompileModel compile_;
  const PrecisionCheck check_;
  std::atomic<int64_t> temporaries_{0};

  // Held from the choice of a number to its folder's rename, so that numbers have no gaps.
  absl::Mutex publish_mu_ ABSL_ACQUIRED_BEFORE(mu_);
  // Held while an evaluations file is replaced.
  absl::Mutex evaluations_mu_ ABSL_ACQUIRED_BEFORE(mu_);

  // Never held while files are read or written, or a model is compiled.
  absl::Mutex mu_;
  std::map<std::string, VersionsByNumber> names_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> warnings_ ABSL_GUARDED_BY(mu_);
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
    absl::MutexLock lock(&mu_);
    Warn(status.ok() ? absl::StrCat(path, ": removed; a publication was interrupted")
                     : absl::StrCat(path, ": can't be removed: ", status.message()));
  }
  CONVD_ASSIGN_OR_RETURN(FoundModels found, FindVersions(fs_, models_dir_));
  // A process that ended between a version's rename and the folder's sync left it in the kernel's
  // cache alone, and from here on it is shown.
  CONVD_RETURN_IF_ERROR(fs_.SyncDirectory(models_dir_));
  std::set<std::string> names;
  for (const FoundVersion& f : found.versions) names.insert(f.id.name());
  for (const std::string& name : names) CONVD_RETURN_IF_ERROR(fs_.SyncDirectory(NameDir(name)));
  absl::MutexLock lock(&mu_);
  for (std::string& ignored : found.ignored) Warn(std::move(ignored));
  for (FoundVersion& f : found.versions) {
    Version& version = names_[f.id.name()][f.id.version()];
    version.id = f.id;
    version.path = f.path;
    if (f.card.ok()) {
      version.card = std::make_shared<const v1::ModelCard>(std::move(f.card->card));
      version.size_bytes = f.card->size_bytes;
    } else {
      SetError(version, f.card.status());
    }
    version.evaluations = std::move(f.evaluations);
  }
  return absl::OkStatus();
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

  absl::MutexLock publishing(&publish_mu_);
  CONVD_ASSIGN_OR_RETURN(const int64_t number, NextNumber(name));
  card.mutable_model()->set_version(number);
  const std::string tmp = NewTemporary();
  // After the rename there is nothing left to remove.
  const auto sweep = absl::MakeCleanup([&] { fs_.RemoveAll(tmp).IgnoreError(); });
  CONVD_RETURN_IF_ERROR(fs_.CreateDirectories(tmp));
  CONVD_RETURN_IF_ERROR(WriteVersionFolder(fs_, tmp, onnx, card));
  CONVD_ASSIGN_OR_RETURN(CheckedCard checked, ReadCheckedCard(fs_, tmp, card.model()));
  CONVD_RETURN_IF_ERROR(MoveVersionIntoPlace(fs_, tmp, models_dir_, card.model()));

  Version version;
  version.id = card.model();
  version.path = absl::StrCat(NameDir(name), "/", number);
  version.card = std::make_shared<const v1::ModelCard>(std::move(checked.card));
  version.size_bytes = checked.size_bytes;
  absl::MutexLock lock(&mu_);
  names_[name].insert_or_assign(number, std::move(version));
  return card.model();
}

absl::StatusOr<int64_t> DiskModelRepository::NextNumber(const std::string& name) {
  // What lies on disk counts, listed or not: nothing is ever written over, and a new version never
  // inherits the evaluations of one that was deleted by hand.
  CONVD_ASSIGN_OR_RETURN(int64_t highest, HighestNumber(fs_, NameDir(name)));
  {
    absl::MutexLock lock(&mu_);
    const auto it = names_.find(name);
    if (it != names_.end()) highest = std::max(highest, it->second.begin()->first);
  }
  if (highest == std::numeric_limits<int64_t>::max()) {
    return absl::FailedPreconditionError(
        absl::StrCat(NameDir(name), ": holds the highest number that a version can have"));
  }
  return highest + 1;
}

absl::StatusOr<std::shared_ptr<const LoadedModel>> DiskModelRepository::Load(
    const v1::ModelVersion& id, v1::Precision precision) {
  CONVD_RETURN_IF_ERROR(CheckModelVersion(id));
  std::vector<Version*> candidates;  // newest first
  {
    absl::MutexLock lock(&mu_);
    CONVD_ASSIGN_OR_RETURN(VersionsByNumber * versions, FindName(id.name()));
    if (id.version() > 0) {
      const auto it = versions->find(id.version());
      if (it == versions->end()) return FindListed(id).status();
      candidates.push_back(&it->second);
    } else {
      for (auto& [number, version] : *versions) candidates.push_back(&version);
    }
  }
  absl::Status first_error;
  for (Version* version : candidates) {
    absl::StatusOr<std::shared_ptr<const LoadedModel>> loaded = LoadVersion(*version, precision);
    // Damage is the one reason to answer with an older version than the newest.
    if (loaded.ok() || !absl::IsDataLoss(loaded.status())) return loaded;
    if (first_error.ok()) first_error = loaded.status();
  }
  return first_error;
}

absl::StatusOr<std::shared_ptr<const LoadedModel>> DiskModelRepository::LoadVersion(
    Version& version, v1::Precision requested) {
  CONVD_RETURN_IF_ERROR(ReadCardAgain(version, requested));
  v1::ModelVersion id;
  std::string path;
  v1::Precision precision;
  Served* served;
  {
    absl::MutexLock lock(&mu_);
    // First, so that nothing is kept of a precision that there isn't.
    CONVD_RETURN_IF_ERROR(CheckServed(*version.card, requested, check_));
    precision = ChoosePrecision(*version.card, requested);
    served = &version.served[precision];
    if (served->loading) {
      // Somebody is at it: theirs is ours.
      mu_.Await(absl::Condition(+[](Served* s) { return !s->loading; }, served));
      if (served->loaded == nullptr) return served->error;
    }
    if (served->loaded != nullptr) return served->loaded;
    if (KnownDamaged(version)) return version.error;
    if (KnownDamaged(served->error, served->error_time)) return served->error;
    served->loading = true;
    id = version.id;
    path = version.path;
  }
  absl::StatusOr<CheckedWeights> weights = ReadCheckedWeights(fs_, path, id);
  const absl::Status read = weights.status();
  const int64_t size_bytes = weights.ok() ? weights->size_bytes : 0;
  const absl::StatusOr<std::shared_ptr<const LoadedModel>> loaded =
      read.ok() ? CompileWeights(compile_, *std::move(weights), path, precision)
                : absl::StatusOr<std::shared_ptr<const LoadedModel>>(read);

  absl::MutexLock lock(&mu_);
  served->loading = false;
  // What is in memory goes on answering, and stays listed, whatever its files have become. Else
  // they may have been damaged before, and mended since.
  const bool own_error = !read.ok() && !version.in_memory();
  if (own_error) SetError(version, read);
  if (read.ok()) version.error = absl::OkStatus();
  if (!loaded.ok()) {
    // Not the version's own error: at another precision it may be as good as ever.
    if (!own_error && loaded.status().message() != served->error.message()) {
      Warn(absl::StrCat("model ", id.name(), " version ", id.version(), " can't be loaded at ",
                        v1::Precision_Name(precision), ": ", loaded.status().message()));
    }
    served->error = loaded.status();
    served->error_time = clock_.Monotonic();
    return loaded.status();
  }
  served->error = absl::OkStatus();
  served->loaded = *loaded;
  version.card = std::shared_ptr<const v1::ModelCard>(served->loaded, &served->loaded->card);
  version.size_bytes = size_bytes;
  return loaded;
}

absl::Status DiskModelRepository::ReadCardAgain(Version& version, v1::Precision requested) {
  v1::ModelVersion id;
  std::string path;
  {
    absl::MutexLock lock(&mu_);
    if (version.listed() || Find(version, requested) != nullptr) return absl::OkStatus();
    if (KnownDamaged(version)) return version.error;
    id = version.id;
    path = version.path;
  }
  absl::StatusOr<CheckedCard> card = ReadCheckedCard(fs_, path, id);
  absl::MutexLock lock(&mu_);
  if (!card.ok()) {
    SetError(version, card.status());
    return card.status();
  }
  // Not listed yet: the weights may be what is damaged.
  version.card = std::make_shared<const v1::ModelCard>(std::move(card->card));
  version.size_bytes = card->size_bytes;
  return absl::OkStatus();
}

const Served* DiskModelRepository::FindServed(const Version& version, v1::Precision requested) {
  if (version.card == nullptr) return nullptr;
  const auto served = version.served.find(ChoosePrecision(*version.card, requested));
  return served != version.served.end() ? &served->second : nullptr;
}

std::shared_ptr<const LoadedModel> DiskModelRepository::Find(const Version& version,
                                                             v1::Precision requested) {
  const Served* const served = FindServed(version, requested);
  return served != nullptr ? served->loaded : nullptr;
}

std::shared_ptr<const LoadedModel> DiskModelRepository::FindLoaded(const v1::ModelVersion& id,
                                                                   v1::Precision precision) {
  absl::MutexLock lock(&mu_);
  const auto it = names_.find(id.name());
  if (it == names_.end()) return nullptr;
  for (const auto& [number, version] : it->second) {
    if (id.version() != 0 && number != id.version()) continue;
    std::shared_ptr<const LoadedModel> loaded = Find(version, precision);
    if (loaded != nullptr || !KnownDamaged(version, precision)) return loaded;
  }
  return nullptr;
}

absl::StatusOr<DiskModelRepository::VersionsByNumber*> DiskModelRepository::FindName(
    const std::string& name) {
  const auto it = names_.find(name);
  if (it != names_.end()) return &it->second;
  return absl::NotFoundError(absl::StrCat("model: no version of \"", name, "\" is published"));
}

absl::StatusOr<Version*> DiskModelRepository::FindListed(const v1::ModelVersion& id) {
  CONVD_ASSIGN_OR_RETURN(VersionsByNumber * versions, FindName(id.name()));
  for (auto& [number, version] : *versions) {
    if (id.version() == 0 ? version.listed() : number == id.version()) {
      if (version.listed()) return &version;
      return version.error;
    }
  }
  Version& newest = versions->begin()->second;
  if (id.version() == 0) return newest.error;
  return absl::NotFoundError(absl::StrCat("model: \"", id.name(), "\" has no version ",
                                          id.version(), "; its newest is ", newest.id.version()));
}

absl::StatusOr<v1::Model> DiskModelRepository::Get(const v1::ModelVersion& id) {
  CONVD_RETURN_IF_ERROR(CheckModelVersion(id));
  v1::Model model;
  {
    absl::MutexLock lock(&mu_);
    CONVD_ASSIGN_OR_RETURN(const Version* version, FindListed(id));
    model = Describe(*version);
  }
  CONVD_ASSIGN_OR_RETURN(const Graph graph, Graph::Create(model.card().network()));
  model.set_summary(Summary(graph));
  return model;
}

absl::StatusOr<std::vector<float>> DiskModelRepository::ReadWeights(const v1::ModelVersion& id) {
  CONVD_RETURN_IF_ERROR(CheckModelVersion(id));
  v1::ModelVersion found;
  std::string path;
  {
    absl::MutexLock lock(&mu_);
    CONVD_ASSIGN_OR_RETURN(const Version* version, FindListed(id));
    found = version->id;
    path = version->path;
  }
  CONVD_ASSIGN_OR_RETURN(CheckedWeights weights, ReadCheckedWeights(fs_, path, found));
  return std::move(weights.parameters);
}

v1::Model DiskModelRepository::Describe(const Version& version) {
  v1::Model model;
  *model.mutable_card() = *version.card;
  if (version.evaluations.ok()) {
    model.mutable_evaluations()->Add(version.evaluations->begin(), version.evaluations->end());
  }
  model.set_path(version.path);
  model.set_size_bytes(version.size_bytes);
  return model;
}

std::vector<v1::Model> DiskModelRepository::List(const std::string& name) {
  absl::MutexLock lock(&mu_);
  std::vector<v1::Model> models;
  for (const auto& [known, versions] : names_) {
    if (!name.empty() && known != name) continue;
    for (const auto& [number, version] : versions) {
      if (version.listed()) models.push_back(Describe(version));
    }
  }
  return models;
}

std::vector<v1::ModelVersion> DiskModelRepository::Versions(const std::string& name) {
  absl::MutexLock lock(&mu_);
  std::vector<v1::ModelVersion> ids;
  for (const auto& [known, versions] : names_) {
    if (!name.empty() && known != name) continue;
    for (const auto& [number, version] : versions) {
      if (version.listed()) ids.push_back(version.id);
    }
  }
  return ids;
}

absl::Status DiskModelRepository::AddEvaluation(const v1::Evaluation& evaluation) {
  CONVD_RETURN_IF_ERROR(CheckModelVersion(evaluation.model()));
  if (evaluation.model().version() == 0) {
    return absl::InvalidArgumentError("evaluation.model.version: got 0; want the one evaluated");
  }
  absl::MutexLock replacing(&evaluations_mu_);
  Version* version;
  absl::StatusOr<std::vector<v1::Evaluation>> kept;
  std::string path;
  {
    absl::MutexLock lock(&mu_);
    CONVD_ASSIGN_OR_RETURN(version, FindListed(evaluation.model()));
    kept = version->evaluations;
    path = EvaluationsPath(version->path);
  }
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
  CONVD_RETURN_IF_ERROR(fs_.SyncDirectory(NameDir(evaluation.model().name())));
  absl::MutexLock lock(&mu_);
  version->evaluations = std::move(evaluations);
  return absl::OkStatus();
}

void DiskModelRepository::SetError(Version& version, absl::Status error) {
  if (error.message() != version.error.message()) {
    Warn(absl::StrCat(
        "model ", version.id.name(), " version ", version.id.version(),
        absl::IsDataLoss(error) ? " is left out: " : " can't be loaded: ", error.message()));
  }
  version.error = std::move(error);
  version.error_time = clock_.Monotonic();
}

void DiskModelRepository::Warn(std::string text) {
  if (warnings_.size() < kMaxWarnings) warnings_.push_back(std::move(text));
}

std::vector<std::string> DiskModelRepository::TakeWarnings() {
  absl::MutexLock lock(&mu_);
  return std::exchange(warnings_, {});
}

}  // namespace

absl::Status CheckModelVersion(const v1::ModelVersion& version) {
  CONVD_RETURN_IF_ERROR(CheckName("model.name", version.name()));
  if (version.version() >= 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("model.version: got ", version.version(),
                                                 "; want 0 (the newest) or a version's number"));
}

absl::StatusOr<std::unique_ptr<ModelRepository>> ModelRepository::Open(FileSystem& fs,
                                                                       const Clock& clock,
                                                                       const std::string& state_dir,
                                                                       CompileModel compile,
                                                                       PrecisionCheck check) {
  const bool made_state_dir = !fs.Exists(state_dir);
  CONVD_RETURN_IF_ERROR(fs.CreateDirectories(state_dir));
  // Absolute and without links, as paths are shown and compared.
  CONVD_ASSIGN_OR_RETURN(const std::string canonical, fs.Canonical(state_dir));
  if (made_state_dir) {
    // As far as it may be read: the folders above STATE are not this program's.
    fs.SyncDirectory(canonical.substr(0, std::max<size_t>(1, canonical.rfind('/')))).IgnoreError();
  }
  auto repository = std::make_unique<DiskModelRepository>(fs, clock, canonical, std::move(compile),
                                                          std::move(check));
  CONVD_RETURN_IF_ERROR(repository->Scan());
  return repository;
}

}  // namespace convd
