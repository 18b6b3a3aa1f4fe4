#include "server/models/served_versions.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"
#include "core/status/thrown.h"
#include "server/models/model_policy.h"
#include "server/models/repository.h"
#include "server/models/version_folder.h"

namespace convd {
namespace {

using ::google::protobuf::util::MessageDifferencer;

// How long a version stays in memory that nothing but its number stands for.
constexpr absl::Duration kKeptByNumber = absl::Minutes(5);
constexpr size_t kMaxWarnings = 1000;

// Of a precision that there isn't, that the CPU lacks, or that the version can't be served at.
bool IsOfTheRequest(const absl::Status& error) {
  return absl::IsInvalidArgument(error) || absl::IsFailedPrecondition(error);
}

}  // namespace

// What changes.

void ServedVersions::Add(FoundVersion found) {
  const auto version = std::make_shared<KnownVersion>();
  version->id = found.id;
  version->path = std::move(found.path);
  std::vector<v1::Precision> precisions;
  {
    absl::MutexLock lock(&mu_);
    KnownName& name = NameOf(found.id.name());
    if (name.versions.count(found.id.version()) > 0) return;
    if (found.card.ok()) {
      version->card = std::make_shared<const v1::ModelCard>(std::move(found.card->card));
      version->size_bytes = found.card->size_bytes;
      version->listed = true;
      precisions = TakesOverAt(found.id);
    } else {
      SetFailure(*version, found.card.status(), found.files);
    }
    if (!found.evaluations.ok()) {
      WarnLocked(absl::StrCat(EvaluationsPath(version->path),
                              ": ignored: ", found.evaluations.status().message()));
    }
    version->evaluations = std::move(found.evaluations);
  }
  LoadAt(*version, precisions, std::move(found.weights));
  Gone gone;
  absl::MutexLock lock(&mu_);
  KnownName& name = NameOf(found.id.name());
  name.versions.emplace(found.id.version(), version);
  name.highest = std::max(name.highest, found.id.version());
  if (!precisions.empty()) Retire(name, gone);
}

void ServedVersions::Remove(const v1::ModelVersion& id) { Remove(id, /*in_memory_too=*/true); }

bool ServedVersions::ForgetUnlessInMemory(const v1::ModelVersion& id) {
  return Remove(id, /*in_memory_too=*/false);
}

bool ServedVersions::Remove(const v1::ModelVersion& id, bool in_memory_too) {
  VersionPointer gone;
  absl::MutexLock lock(&mu_);
  const auto name = names_.find(id.name());
  if (name == names_.end()) return false;
  const auto version = name->second.versions.find(id.version());
  if (version == name->second.versions.end()) return false;
  gone = version->second;
  if (!in_memory_too && (gone->in_memory() || gone->loading())) return false;
  gone->removed = true;
  name->second.versions.erase(version);
  return true;
}

void ServedVersions::SetPolicy(const std::string& name, absl::StatusOr<v1::ModelPolicy> policy) {
  Gone gone;
  absl::MutexLock lock(&mu_);
  KnownName& known = NameOf(name);
  if (!policy.ok() && policy.status() != known.policy.status()) {
    WarnLocked(absl::StrCat("model ", name,
                            ": only its version numbers can be asked for, since its ",
                            "labels can't be read: ", policy.status().message()));
  }
  known.policy = std::move(policy);
  Retire(known, gone);
}

void ServedVersions::SetEvaluations(const v1::ModelVersion& id,
                                    std::vector<v1::Evaluation> evaluations) {
  absl::MutexLock lock(&mu_);
  const absl::StatusOr<VersionPointer> version = FindListed(id);
  if (version.ok()) (*version)->evaluations = std::move(evaluations);
}

absl::Status ServedVersions::PrepareToTakeOver(const std::string& name, const std::string& label,
                                               const v1::ModelVersion& next) {
  VersionPointer version;
  std::vector<v1::Precision> precisions;
  {
    absl::MutexLock lock(&mu_);
    CONVD_ASSIGN_OR_RETURN(version, FindListed(next));
    CONVD_ASSIGN_OR_RETURN(const KnownName* const known, FindName(name));
    if (const KnownVersion* const current = Current(*known, label)) {
      precisions = PrecisionsAfter(*current);
    }
    CONVD_RETURN_IF_ERROR(CheckServed(*version->card, v1::PRECISION_UNSPECIFIED, check_));
  }
  if (precisions.empty()) return ReadCheckedWeights(fs_, version->path, version->id).status();
  return LoadToTakeOver(*version, precisions);
}

absl::Status ServedVersions::PrepareToLose(const v1::ModelVersion& id) {
  std::vector<VersionPointer> older;
  std::vector<v1::Precision> precisions;
  {
    absl::MutexLock lock(&mu_);
    CONVD_ASSIGN_OR_RETURN(const KnownName* const name, FindName(id.name()));
    const KnownVersion* const newest = Current(*name, kLatestLabel);
    if (newest == nullptr || newest->id.version() != id.version()) return absl::OkStatus();
    precisions = PrecisionsAfter(*newest);
    for (const auto& [number, version] : name->versions) {
      if (version->listed && version.get() != newest) older.push_back(version);
    }
  }
  if (precisions.empty()) return absl::OkStatus();
  for (const VersionPointer& next : older) {
    const absl::Status loaded = LoadToTakeOver(*next, precisions);
    if (loaded.ok()) return loaded;
    // A request would go on to the one before it, too.
    if (absl::IsDataLoss(loaded)) continue;
    return absl::Status(
        loaded.code(),
        absl::StrCat("model: version ", next->id.version(), " of \"", id.name(),
                     "\", the newest after ", id.version(), ", can't take over: ", loaded.message(),
                     "; unload version ", id.version(), " first to do without it"));
  }
  return absl::OkStatus();
}

absl::Status ServedVersions::LoadToTakeOver(KnownVersion& version,
                                            const std::vector<v1::Precision>& precisions) {
  for (const v1::Precision precision : precisions) {
    const absl::Status loaded = LoadVersion(version, precision).status();
    // Whoever names a precision is told; who names none must be served.
    if (precision != v1::PRECISION_UNSPECIFIED && IsOfTheRequest(loaded)) continue;
    CONVD_RETURN_IF_ERROR(loaded);
  }
  return absl::OkStatus();
}

void ServedVersions::ReadDamagedAgain(Stopped stopped) {
  std::vector<VersionPointer> damaged;
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [name, known] : names_) {
      for (const auto& [number, version] : known.versions) {
        if (version->listed || version->failure.TooEarly(clock_.Monotonic())) continue;
        damaged.push_back(version);
      }
    }
  }
  for (const VersionPointer& version : damaged) {
    if (stopped()) return;
    ReadDamagedAgain(*version, stopped);
  }
}

void ServedVersions::ReadDamagedAgain(KnownVersion& version, Stopped stopped) {
  const std::optional<VersionStamp> files = StampVersion(fs_, version.path, clock_.Now());
  {
    absl::MutexLock lock(&mu_);
    if (version.failure.IsOf(files)) return SetFailure(version, version.failure.status(), files);
  }
  absl::StatusOr<CheckedWeights> weights =
      ReadCheckedWeights(fs_, version.path, version.id, stopped);
  if (absl::IsCancelled(weights.status()) || stopped()) return;
  std::vector<v1::Precision> precisions;
  {
    absl::MutexLock lock(&mu_);
    if (!weights.ok()) return SetFailure(version, weights.status(), files);
    version.card = std::make_shared<const v1::ModelCard>(weights->card);
    version.size_bytes = weights->size_bytes;
    precisions = TakesOverAt(version.id);
  }
  LoadAt(version, precisions, *std::move(weights));
  absl::MutexLock lock(&mu_);
  version.failure.Clear();
  for (auto& [precision, served] : version.served) {
    if (absl::IsDataLoss(served.failure.status())) served.failure.Clear();
  }
  version.listed = true;
}

void ServedVersions::Retire() {
  Gone gone;
  absl::MutexLock lock(&mu_);
  for (auto& [name, known] : names_) Retire(known, gone);
}

void ServedVersions::Retire(KnownName& name, Gone& gone) {
  // Without labels nobody knows what is meant; and where what is meant can't be loaded, those
  // before it may be all there is.
  if (!name.policy.ok()) return;
  const KnownVersion* const current = Current(name, "");
  if (current == nullptr || (!current->in_memory() && current->load_failed())) return;
  for (auto& [number, version] : name.versions) {
    const bool asked_for = clock_.Monotonic() - version->asked_by_number < kKeptByNumber;
    if (version.get() == current || asked_for || IsLabelled(name, number)) continue;
    LetGo(*version, gone);
  }
}

void ServedVersions::LetGo(KnownVersion& version, Gone& gone) {
  for (auto& [precision, served] : version.served) gone.push_back(std::move(served.loaded));
}

absl::Status ServedVersions::Unload(const v1::ModelVersion& id) {
  Gone gone;
  absl::MutexLock lock(&mu_);
  if (id.version() == 0 && id.label().empty()) {
    CONVD_ASSIGN_OR_RETURN(KnownName* const name, FindName(id.name()));
    for (auto& [number, version] : name->versions) LetGo(*version, gone);
    return absl::OkStatus();
  }
  CONVD_ASSIGN_OR_RETURN(const VersionPointer version, FindListed(id));
  LetGo(*version, gone);
  return absl::OkStatus();
}

// Loading.

absl::StatusOr<std::shared_ptr<const LoadedModel>> ServedVersions::Load(const v1::ModelVersion& id,
                                                                        v1::Precision precision) {
  for (;;) {
    absl::StatusOr<std::shared_ptr<const LoadedModel>> loaded = LoadMeant(id, precision);
    // What was meant when it was looked up has been deleted since; another version is meant by now.
    if (!absl::IsAborted(loaded.status())) return loaded;
  }
}

absl::StatusOr<std::shared_ptr<const LoadedModel>> ServedVersions::LoadMeant(
    const v1::ModelVersion& id, v1::Precision precision) {
  std::vector<VersionPointer> candidates;
  {
    absl::MutexLock lock(&mu_);
    CONVD_ASSIGN_OR_RETURN(candidates, Candidates(id));
    if (id.version() > 0) candidates.front()->asked_by_number = clock_.Monotonic();
  }
  absl::Status first_error;
  for (const VersionPointer& version : candidates) {
    absl::StatusOr<std::shared_ptr<const LoadedModel>> loaded = LoadVersion(*version, precision);
    if (loaded.ok() || absl::IsAborted(loaded.status())) return loaded;
    if (first_error.ok()) first_error = loaded.status();
    // Damage is the one reason to load an older version than the newest; where this server can't
    // load it, one that is in memory answers. What the request asks for is no such reason.
    if (absl::IsDataLoss(loaded.status())) continue;
    if (IsOfTheRequest(loaded.status())) return loaded;
    absl::MutexLock lock(&mu_);
    for (const VersionPointer& older : candidates) {
      const ServedVersion* const served = FindServed(*older, precision);
      if (served != nullptr && served->loaded != nullptr) return served->loaded;
    }
    return first_error;
  }
  return first_error;
}

absl::StatusOr<std::shared_ptr<const LoadedModel>> ServedVersions::LoadVersion(
    KnownVersion& version, v1::Precision requested, std::optional<CheckedWeights> checked) {
  v1::Precision precision;
  ServedVersion* served;
  LastFailure failure;
  std::shared_ptr<const v1::ModelCard> card;
  int64_t size_bytes;
  const bool is_checked = checked.has_value();
  {
    absl::MutexLock lock(&mu_);
    if (!version.listed && !is_checked) {
      const ServedVersion* const in_memory = FindServed(version, requested);
      if (in_memory != nullptr && in_memory->loaded != nullptr) return in_memory->loaded;
      return version.failure.status();  // until ReadDamagedAgain finds that it is whole
    }
    // First, so that nothing is kept of a precision that there isn't.
    CONVD_RETURN_IF_ERROR(CheckServed(*version.card, requested, check_));
    precision = ChoosePrecision(*version.card, requested);
    served = &version.served[precision];
    if (served->loading) {
      // Somebody is at it: theirs is ours.
      mu_.Await(absl::Condition(+[](ServedVersion* s) { return !s->loading; }, served));
      if (served->loaded == nullptr && !served->failure.status().ok()) {
        return served->failure.status();
      }
    }
    if (served->loaded != nullptr) return served->loaded;
    failure = served->failure;
    if (!is_checked && absl::IsDataLoss(failure.status()) && failure.TooEarly(clock_.Monotonic())) {
      return failure.status();
    }
    served->loading = true;
    card = version.card;
    size_bytes = version.size_bytes;
  }
  // First of all, so that what doesn't fit costs nothing, however often it is asked for.
  absl::StatusOr<ModelMemory> memory = OrWhatItThrows(version.path, [&] {
    return TakeMemoryFor(take_memory_, *card, version.path, precision, size_bytes);
  });
  std::optional<VersionStamp> files;
  absl::StatusOr<CheckedWeights> weights =
      OrWhatItThrows(version.path, [&]() -> absl::StatusOr<CheckedWeights> {
        CONVD_RETURN_IF_ERROR(memory.status());
        if (is_checked) return *std::move(checked);
        files = StampVersion(fs_, version.path, clock_.Now());
        if (failure.IsOf(files)) return failure.status();
        return ReadCheckedWeights(fs_, version.path, version.id);
      });
  const absl::Status read = weights.status();
  const bool admitted = memory.ok();
  const absl::StatusOr<std::shared_ptr<const LoadedModel>> loaded =
      OrWhatItThrows(version.path, [&]() -> absl::StatusOr<std::shared_ptr<const LoadedModel>> {
        CONVD_RETURN_IF_ERROR(read);
        size_bytes = weights->size_bytes;
        if (!MessageDifferencer::Equals(weights->card.network(), card->network())) {
          // Whoever changed the files by hand changed what it takes.
          memory->share = MemoryLedger::Share();
          CONVD_ASSIGN_OR_RETURN(memory, TakeMemoryFor(take_memory_, weights->card, version.path,
                                                       precision, size_bytes));
        }
        CONVD_ASSIGN_OR_RETURN(std::shared_ptr<const LoadedModel> compiled,
                               CompileWeights(compile_, *std::move(weights), version.path,
                                              precision, *std::move(memory)));
        // Apart from what is loaded, which the card would keep in memory.
        card = std::make_shared<const v1::ModelCard>(compiled->card);
        return compiled;
      });

  absl::MutexLock lock(&mu_);
  served->loading = false;
  if (version.removed && !loaded.ok()) {
    return absl::AbortedError(absl::StrCat("model: version ", version.id.version(), " of \"",
                                           version.id.name(), "\" was deleted meanwhile"));
  }
  // What is in memory goes on answering, and stays listed, whatever its files have become. Else
  // they may have been damaged before, and mended since.
  const bool own_failure = admitted && !read.ok() && !version.in_memory();
  if (own_failure) SetFailure(version, read, files);
  if (read.ok() && !is_checked) {
    version.failure.Clear();
    version.listed = true;
  }
  if (!loaded.ok()) {
    // Not the version's own: at another precision it may be as good as ever.
    if (!own_failure && loaded.status().message() != served->failure.status().message()) {
      WarnLocked(absl::StrCat("model ", version.id.name(), " version ", version.id.version(),
                              " can't be loaded at ", v1::Precision_Name(precision), ": ",
                              loaded.status().message()));
    }
    served->failure.Set(loaded.status(), files, clock_.Monotonic());
    return loaded.status();
  }
  served->failure.Clear();
  served->loaded = *loaded;
  version.card = card;
  version.size_bytes = size_bytes;
  return loaded;
}

void ServedVersions::LoadAt(KnownVersion& version, const std::vector<v1::Precision>& precisions,
                            std::optional<CheckedWeights> weights) {
  // What can't be loaded is warned of, and tried again by who asks for it.
  for (const v1::Precision& precision : precisions) {
    const bool last = &precision == &precisions.back();
    OrWhatItThrows(version.path, [&] {
      return LoadVersion(version, precision, last ? std::move(weights) : weights).status();
    }).IgnoreError();
  }
}

std::shared_ptr<const LoadedModel> ServedVersions::FindLoaded(const v1::ModelVersion& id,
                                                              v1::Precision precision) {
  absl::MutexLock lock(&mu_);
  const auto name = names_.find(id.name());
  if (name == names_.end()) return nullptr;
  const absl::StatusOr<int64_t> number = NumberOf(name->second, id);
  if (!number.ok()) return nullptr;
  const auto find = [&](KnownVersion& version) {
    if (id.version() > 0) version.asked_by_number = clock_.Monotonic();
    const ServedVersion* const served = FindServed(version, precision);
    return served != nullptr ? served->loaded : nullptr;
  };
  if (*number > 0) {
    const auto version = name->second.versions.find(*number);
    return version != name->second.versions.end() ? find(*version->second) : nullptr;
  }
  for (const auto& [newest, version] : name->second.versions) {
    if (!version->listed) continue;
    std::shared_ptr<const LoadedModel> loaded = find(*version);
    if (loaded != nullptr || !KnownUnusable(*version, precision)) return loaded;
  }
  return nullptr;
}

absl::StatusOr<std::vector<float>> ServedVersions::ReadWeights(const v1::ModelVersion& id) {
  VersionPointer version;
  {
    absl::MutexLock lock(&mu_);
    CONVD_ASSIGN_OR_RETURN(version, FindListed(id));
  }
  CONVD_ASSIGN_OR_RETURN(CheckedWeights weights,
                         ReadCheckedWeights(fs_, version->path, version->id));
  return std::move(weights.parameters);
}

// What is meant.

KnownName& ServedVersions::NameOf(const std::string& name) {
  const auto [known, added] = names_.try_emplace(name);
  if (added) known->second.policy->set_name(name);
  return known->second;
}

absl::StatusOr<KnownName*> ServedVersions::FindName(const std::string& name) {
  const auto known = names_.find(name);
  if (known != names_.end() && !known->second.versions.empty()) return &known->second;
  return absl::NotFoundError(absl::StrCat("model: no version of \"", name, "\" is published"));
}

absl::StatusOr<std::vector<ServedVersions::VersionPointer>> ServedVersions::Candidates(
    const v1::ModelVersion& id) {
  CONVD_ASSIGN_OR_RETURN(const KnownName* const name, FindName(id.name()));
  return convd::Candidates(*name, id);
}

absl::StatusOr<ServedVersions::VersionPointer> ServedVersions::FindListed(
    const v1::ModelVersion& id) {
  CONVD_ASSIGN_OR_RETURN(const std::vector<VersionPointer> candidates, Candidates(id));
  for (const VersionPointer& version : candidates) {
    if (version->listed) return version;
  }
  return candidates.front()->failure.status();
}

std::vector<v1::Precision> ServedVersions::TakesOverAt(const v1::ModelVersion& id) {
  const KnownName& name = NameOf(id.name());
  if (!name.policy.ok() || !name.policy->default_label().empty()) return {};
  const KnownVersion* const current = Current(name, "");
  if (current == nullptr || current->id.version() > id.version()) return {};
  return PrecisionsAfter(*current);
}

// Damage.

bool ServedVersions::KnownUnusable(const KnownVersion& version, v1::Precision requested) const {
  const ServedVersion* const served = FindServed(version, requested);
  return served != nullptr && !IsOfTheRequest(served->failure.status()) &&
         served->failure.TooEarly(clock_.Monotonic());
}

void ServedVersions::SetFailure(KnownVersion& version, absl::Status failure,
                                const std::optional<VersionStamp>& files) {
  const bool damage = absl::IsDataLoss(failure);
  if (failure.message() != version.failure.status().message()) {
    WarnLocked(absl::StrCat("model ", version.id.name(), " version ", version.id.version(),
                            damage ? " is left out: " : " can't be loaded: ", failure.message()));
  }
  // What was whole need not be damaged where it can't be read.
  if (damage) version.listed = false;
  version.failure.Set(std::move(failure), files, clock_.Monotonic());
}

void ServedVersions::Warn(std::string text) {
  absl::MutexLock lock(&mu_);
  WarnLocked(std::move(text));
}

void ServedVersions::WarnLocked(std::string text) {
  if (warnings_.size() < kMaxWarnings) warnings_.push_back(std::move(text));
}

std::vector<std::string> ServedVersions::TakeWarnings() {
  absl::MutexLock lock(&mu_);
  return std::exchange(warnings_, {});
}

}  // namespace convd
