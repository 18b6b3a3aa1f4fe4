#ifndef CONVD_SERVER_MODELS_SERVED_VERSIONS_H_
#define CONVD_SERVER_MODELS_SERVED_VERSIONS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "convd/v1/models.pb.h"
#include "core/storage/file_system.h"
#include "core/time/clock.h"
#include "server/models/found_versions.h"
#include "server/models/known_versions.h"
#include "server/models/loaded_model.h"
#include "server/models/served_precision.h"
#include "server/models/version_folder.h"

namespace convd {

// The versions that are known, what their names and labels stand for, and those of them that are in
// memory. Reads version folders and never writes any: what changes on disk is told it (Add, Remove,
// SetPolicy), one change at a time. Any thread may call all else.
//
// A version takes over from another without anybody waiting or failing: it is loaded, at each
// precision that the one before it is, before a name or label stands for it. Then the one before it
// is let go, and its memory is given back when the last request that holds it has ended. In memory
// stays what a name or a label stands for, and for five minutes what was asked for by its number.
class ServedVersions {
 public:
  ServedVersions(FileSystem& fs, const Clock& clock, CompileModel compile, PrecisionCheck check,
                 TakeMemory take_memory)
      : fs_(fs),
        clock_(clock),
        compile_(std::move(compile)),
        check_(std::move(check)),
        take_memory_(std::move(take_memory)) {}

  // As ModelRepository has them.
  absl::StatusOr<std::shared_ptr<const LoadedModel>> Load(const v1::ModelVersion& id,
                                                          v1::Precision precision);
  std::shared_ptr<const LoadedModel> FindLoaded(const v1::ModelVersion& id,
                                                v1::Precision precision);
  absl::StatusOr<std::vector<float>> ReadWeights(const v1::ModelVersion& id);
  absl::StatusOr<v1::Model> Get(const v1::ModelVersion& id);
  std::vector<v1::Model> List(const std::string& name);
  std::vector<v1::ModelVersion> Versions(const std::string& name);
  std::vector<v1::Model> Damaged(const std::string& name);
  absl::StatusOr<v1::ModelPolicy> Policy(const std::string& name);
  absl::Status Unload(const v1::ModelVersion& id);
  std::vector<std::string> TakeWarnings();

  // Nothing where it is known already. Blocks while it is loaded, where it takes over; from the
  // weights, where they were found.
  void Add(FoundVersion found) ABSL_LOCKS_EXCLUDED(mu_);
  void Remove(const v1::ModelVersion& id);
  // Removes it where it is neither in memory nor being loaded; whether it did.
  bool ForgetUnlessInMemory(const v1::ModelVersion& id);
  void SetPolicy(const std::string& name, absl::StatusOr<v1::ModelPolicy> policy);
  void SetEvaluations(const v1::ModelVersion& id, std::vector<v1::Evaluation> evaluations);

  // OK once `next` is whole and loaded at each precision that what `label` stands for now is (or,
  // where `label` is empty, the name's default).
  absl::Status PrepareToTakeOver(const std::string& name, const std::string& label,
                                 const v1::ModelVersion& next) ABSL_LOCKS_EXCLUDED(mu_);
  // OK once what stands for the newest version without this one is loaded as this one is; also
  // where this isn't the newest, isn't in memory, or is the only one that is whole.
  absl::Status PrepareToLose(const v1::ModelVersion& id) ABSL_LOCKS_EXCLUDED(mu_);
  // Reads what isn't listed again, all of its bytes, where that may find another thing than the
  // last time; what is whole is loaded where it takes over, and listed.
  void ReadDamagedAgain(Stopped stopped) ABSL_LOCKS_EXCLUDED(mu_);
  // Lets go of what need not be in memory any more.
  void Retire();

  // A version as whoever changes it wants to know it.
  struct Snapshot {
    v1::ModelVersion id;
    std::string path;
    bool damaged = false;
    bool in_memory = false;
    bool in_use = false;  // by a request
    bool load_failed = false;
    bool labelled = false;
    bool rolls_back = false;  // a label stood for it before
  };
  // Each version of a name, the newest first, damaged or not.
  std::vector<Snapshot> Snapshots(const std::string& name);
  absl::StatusOr<Snapshot> FindSnapshot(const v1::ModelVersion& id);
  // Of a version that FindSnapshot found; an error where the file was there and could not be read.
  absl::StatusOr<std::vector<v1::Evaluation>> Evaluations(const v1::ModelVersion& id);
  bool Knows(const v1::ModelVersion& id);
  // That any version of the name bore, or that its policy speaks of.
  int64_t HighestNumber(const std::string& name);
  std::vector<std::string> Names();
  void Warn(std::string text);

 private:
  using VersionPointer = std::shared_ptr<KnownVersion>;
  // What is let go of under the lock, and freed after it: that takes time, and requests wait for
  // it.
  using Gone = std::vector<std::shared_ptr<const LoadedModel>>;

  // ABORTED, as of LoadVersion, where the version was deleted before it could be read.
  absl::StatusOr<std::shared_ptr<const LoadedModel>> LoadMeant(const v1::ModelVersion& id,
                                                               v1::Precision precision)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Of one that isn't listed why that is; but what was `checked` already is loaded all the same.
  absl::StatusOr<std::shared_ptr<const LoadedModel>> LoadVersion(
      KnownVersion& version, v1::Precision requested,
      std::optional<CheckedWeights> checked = std::nullopt) ABSL_LOCKS_EXCLUDED(mu_);
  void LoadAt(KnownVersion& version, const std::vector<v1::Precision>& precisions,
              std::optional<CheckedWeights> weights) ABSL_LOCKS_EXCLUDED(mu_);
  // OK where it can take over from what is in memory at these.
  absl::Status LoadToTakeOver(KnownVersion& version, const std::vector<v1::Precision>& precisions)
      ABSL_LOCKS_EXCLUDED(mu_);
  void ReadDamagedAgain(KnownVersion& version, Stopped stopped) ABSL_LOCKS_EXCLUDED(mu_);

  bool Remove(const v1::ModelVersion& id, bool in_memory_too) ABSL_LOCKS_EXCLUDED(mu_);

  // Made where it isn't there yet.
  KnownName& NameOf(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // NOT_FOUND says what there is.
  absl::StatusOr<KnownName*> FindName(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What is meant, damaged or not; where that is the newest, all, newest first.
  absl::StatusOr<std::vector<VersionPointer>> Candidates(const v1::ModelVersion& id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What is meant, of those that are listed; DATA_LOSS where that is damaged.
  absl::StatusOr<VersionPointer> FindListed(const v1::ModelVersion& id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // At which precisions it is to be loaded before it is listed.
  std::vector<v1::Precision> TakesOverAt(const v1::ModelVersion& id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Retire(KnownName& name, Gone& gone) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static void LetGo(KnownVersion& version, Gone& gone);
  static Snapshot SnapshotOf(const KnownName& name, const KnownVersion& version);

  // True for a while after a listed version could not be loaded for this request's precision.
  bool KnownUnusable(const KnownVersion& version, v1::Precision requested) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SetFailure(KnownVersion& version, absl::Status failure,
                  const std::optional<VersionStamp>& files) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void WarnLocked(std::string text) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  FileSystem& fs_;
  const Clock& clock_;
  const CompileModel compile_;
  const PrecisionCheck check_;
  const TakeMemory take_memory_;

  // Never held while files are read, or a model is compiled.
  absl::Mutex mu_;
  std::map<std::string, KnownName> names_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> warnings_ ABSL_GUARDED_BY(mu_);
};

}  // namespace convd

#endif  // CONVD_SERVER_MODELS_SERVED_VERSIONS_H_
