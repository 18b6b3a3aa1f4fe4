// What ServedVersions shows of what it knows, and changes nothing of.

#include <algorithm>
#include <utility>

#include "core/nn/summary.h"
#include "core/status/status_macros.h"
#include "server/models/served_versions.h"

namespace convd {
namespace {

constexpr size_t kMaxDamaged = 100;

}  // namespace

absl::StatusOr<v1::Model> ServedVersions::Get(const v1::ModelVersion& id) {
  v1::Model model;
  {
    absl::MutexLock lock(&mu_);
    CONVD_ASSIGN_OR_RETURN(const VersionPointer version, FindListed(id));
    model = DescribeVersion(NameOf(id.name()), *version);
  }
  CONVD_ASSIGN_OR_RETURN(const Graph graph, Graph::Create(model.card().network()));
  model.set_summary(Summary(graph));
  return model;
}

std::vector<v1::Model> ServedVersions::List(const std::string& name) {
  absl::MutexLock lock(&mu_);
  std::vector<v1::Model> models;
  for (const auto& [known, of_name] : names_) {
    if (!name.empty() && known != name) continue;
    for (const auto& [number, version] : of_name.versions) {
      if (version->listed) models.push_back(DescribeVersion(of_name, *version));
    }
  }
  return models;
}

std::vector<v1::ModelVersion> ServedVersions::Versions(const std::string& name) {
  absl::MutexLock lock(&mu_);
  std::vector<v1::ModelVersion> ids;
  for (const auto& [known, of_name] : names_) {
    if (!name.empty() && known != name) continue;
    for (const auto& [number, version] : of_name.versions) {
      if (version->listed) ids.push_back(version->id);
    }
  }
  return ids;
}

std::vector<v1::Model> ServedVersions::Damaged(const std::string& name) {
  absl::MutexLock lock(&mu_);
  std::vector<v1::Model> models;
  for (const auto& [known, of_name] : names_) {
    if (!name.empty() && known != name) continue;
    for (const auto& [number, version] : of_name.versions) {
      if (version->listed || models.size() == kMaxDamaged) continue;
      models.push_back(DescribeVersion(of_name, *version));
    }
  }
  return models;
}

absl::StatusOr<v1::ModelPolicy> ServedVersions::Policy(const std::string& name) {
  absl::MutexLock lock(&mu_);
  CONVD_ASSIGN_OR_RETURN(const KnownName* const known, FindName(name));
  return known->policy;
}

ServedVersions::Snapshot ServedVersions::SnapshotOf(const KnownName& name,
                                                    const KnownVersion& version) {
  Snapshot known;
  known.id = version.id;
  known.path = version.path;
  known.damaged = !version.listed;
  known.in_memory = version.in_memory();
  known.in_use = version.in_use();
  known.load_failed = version.load_failed();
  known.labelled = IsLabelled(name, version.id.version());
  known.rolls_back = IsRollBackTarget(name, version.id.version());
  return known;
}

std::vector<ServedVersions::Snapshot> ServedVersions::Snapshots(const std::string& name) {
  absl::MutexLock lock(&mu_);
  std::vector<Snapshot> known;
  const auto found = names_.find(name);
  if (found == names_.end()) return known;
  for (const auto& [number, version] : found->second.versions) {
    known.push_back(SnapshotOf(found->second, *version));
  }
  return known;
}

absl::StatusOr<ServedVersions::Snapshot> ServedVersions::FindSnapshot(const v1::ModelVersion& id) {
  absl::MutexLock lock(&mu_);
  CONVD_ASSIGN_OR_RETURN(const std::vector<VersionPointer> candidates, Candidates(id));
  return SnapshotOf(NameOf(id.name()), *candidates.front());
}

absl::StatusOr<std::vector<v1::Evaluation>> ServedVersions::Evaluations(
    const v1::ModelVersion& id) {
  absl::MutexLock lock(&mu_);
  CONVD_ASSIGN_OR_RETURN(const std::vector<VersionPointer> candidates, Candidates(id));
  return candidates.front()->evaluations;
}

int64_t ServedVersions::HighestNumber(const std::string& name) {
  absl::MutexLock lock(&mu_);
  const auto known = names_.find(name);
  if (known == names_.end()) return 0;
  int64_t highest = known->second.highest;
  if (!known->second.policy.ok()) return highest;
  const v1::ModelPolicy& policy = *known->second.policy;
  highest = std::max(highest, policy.highest_version());
  for (const v1::ModelLabel& label : policy.labels()) {
    highest = std::max({highest, label.version(), label.previous()});
  }
  return highest;
}

bool ServedVersions::Knows(const v1::ModelVersion& id) {
  absl::MutexLock lock(&mu_);
  const auto name = names_.find(id.name());
  return name != names_.end() && name->second.versions.count(id.version()) > 0;
}

std::vector<std::string> ServedVersions::Names() {
  absl::MutexLock lock(&mu_);
  std::vector<std::string> names;
  for (const auto& [name, known] : names_) names.push_back(name);
  return names;
}

}  // namespace convd
