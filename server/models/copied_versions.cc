#include "server/models/copied_versions.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "server/models/model_policy.h"

namespace convd {

void CopiedVersions::Look(Stopped stopped) {
  const absl::Time looked = clock_.Now();
  const absl::StatusOr<FoundModels> found = FindVersions(
      fs_, models_dir_, [this](const v1::ModelVersion& id) { return versions_.Knows(id); },
      [this](const std::string& name, const FileStamp& folder) {
        const auto last = in_order_.find(name);
        return last != in_order_.end() && last->second == folder;
      });
  // Where the disk is lost, what is in memory goes on.
  if (!found.ok()) return;
  std::vector<v1::ModelVersion> arrived;
  std::set<std::string> there;
  for (const FoundName& of_name : found->names) {
    there.insert(of_name.name);
    if (!of_name.unchanged) Compare(of_name, looked, arrived);
  }
  for (const std::string& name : versions_.Names()) {
    // What can't be read now need not be gone.
    if (there.count(name) > 0 || fs_.Exists(absl::StrCat(models_dir_, "/", name))) continue;
    FoundName nothing;
    nothing.name = name;
    Compare(nothing, looked, arrived);
  }
  for (const v1::ModelVersion& id : arrived) {
    if (stopped()) return;
    TakeUp(id, stopped);
  }
}

void CopiedVersions::Compare(const FoundName& of_name, absl::Time looked,
                             std::vector<v1::ModelVersion>& arrived) {
  bool in_order = of_name.folder.has_value() && of_name.folder->ShowsTheNextChange(looked) &&
                  !of_name.has_others;
  std::set<int64_t> unknown = of_name.versions;
  for (const ServedVersions::Snapshot& known : versions_.Snapshots(of_name.name)) {
    if (unknown.erase(known.id.version()) > 0) {
      gone_.erase(known.path);
      in_order = in_order && !known.damaged;
      continue;
    }
    in_order = false;
    absl::MutexLock changing(&change_mu_);
    // Published or deleted since the look.
    if (fs_.Exists(known.path) || !versions_.Knows(known.id)) continue;
    const bool forgotten = versions_.ForgetUnlessInMemory(known.id);
    if (!gone_.insert(known.path).second) continue;
    versions_.Warn(
        absl::StrCat(known.path, ": is gone; ",
                     forgotten ? "the version isn't listed any more" : "it is served from memory"));
  }
  for (const int64_t number : unknown) {
    in_order = false;
    v1::ModelVersion& id = arrived.emplace_back();
    id.set_name(of_name.name);
    id.set_version(number);
  }
  if (in_order) {
    in_order_[of_name.name] = *of_name.folder;
  } else {
    in_order_.erase(of_name.name);
  }
}

void CopiedVersions::TakeUp(const v1::ModelVersion& id, Stopped stopped) {
  {
    // Published, and on its way into what is known, when it was looked at.
    absl::MutexLock changing(&change_mu_);
    if (versions_.Knows(id)) return;
  }
  // A file may have its size before it has its bytes.
  FoundVersion found = ReadFoundWeights(fs_, models_dir_, id, clock_.Now(), stopped);
  if (stopped()) return;
  absl::MutexLock changing(&change_mu_);
  if (!fs_.Exists(found.path)) return;  // deleted meanwhile
  // A name that is new here may have labels, too.
  if (versions_.Snapshots(id.name()).empty()) {
    versions_.SetPolicy(id.name(), ReadPolicy(fs_, models_dir_, id.name()));
  }
  versions_.Add(std::move(found));
}

}  // namespace convd
