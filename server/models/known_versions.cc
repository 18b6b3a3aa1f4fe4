#include "server/models/known_versions.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"
#include "server/models/model_policy.h"
#include "server/models/served_precision.h"

namespace convd {
namespace {

template <typename Is>
bool AnyLabel(const KnownName& name, Is is) {
  return name.policy.ok() &&
         std::any_of(name.policy->labels().begin(), name.policy->labels().end(), is);
}

}  // namespace

std::vector<v1::Precision> KnownVersion::precisions() const {
  std::vector<v1::Precision> precisions;
  for (const auto& [precision, s] : served) {
    if (s.loaded != nullptr) precisions.push_back(precision);
  }
  return precisions;
}

bool KnownVersion::in_use() const {
  return std::any_of(served.begin(), served.end(), [](const auto& s) {
    return s.second.loading || s.second.loaded.use_count() > 1;
  });
}

bool KnownVersion::loading() const {
  return std::any_of(served.begin(), served.end(), [](const auto& s) { return s.second.loading; });
}

bool KnownVersion::load_failed() const {
  return std::any_of(served.begin(), served.end(), [](const auto& s) {
    return s.second.loaded == nullptr && (s.second.loading || !s.second.failure.status().ok());
  });
}

absl::StatusOr<int64_t> NumberOf(const KnownName& name, const v1::ModelVersion& id) {
  if (id.version() > 0) return id.version();
  if (id.label() == kLatestLabel) return 0;
  CONVD_RETURN_IF_ERROR(name.policy.status());
  const std::string& label = id.label().empty() ? name.policy->default_label() : id.label();
  if (label.empty()) return 0;
  CONVD_ASSIGN_OR_RETURN(const v1::ModelLabel* const found, FindLabel(*name.policy, label));
  return found->version();
}

absl::StatusOr<std::vector<std::shared_ptr<KnownVersion>>> Candidates(const KnownName& name,
                                                                      const v1::ModelVersion& id) {
  CONVD_ASSIGN_OR_RETURN(const int64_t number, NumberOf(name, id));
  std::vector<std::shared_ptr<KnownVersion>> candidates;
  for (const auto& [found, version] : name.versions) {
    if (number == 0 ? version->listed : found == number) candidates.push_back(version);
  }
  // Of none that can be served the newest says why.
  if (number == 0 && candidates.empty()) {
    for (const auto& [found, version] : name.versions) candidates.push_back(version);
  }
  if (!candidates.empty()) return candidates;
  return absl::NotFoundError(absl::StrCat("model: \"", id.name(), "\" has no version ", number,
                                          "; its newest is ", name.versions.begin()->first));
}

const KnownVersion* Current(const KnownName& name, const std::string& label) {
  v1::ModelVersion id;
  id.set_label(label);
  const absl::StatusOr<int64_t> number = NumberOf(name, id);
  if (!number.ok()) return nullptr;
  for (const auto& [found, version] : name.versions) {
    if (*number == 0 ? version->listed : found == *number) return version.get();
  }
  return nullptr;
}

bool IsLabelled(const KnownName& name, int64_t number) {
  return AnyLabel(name, [number](const v1::ModelLabel& l) { return l.version() == number; });
}

bool IsRollBackTarget(const KnownName& name, int64_t number) {
  return AnyLabel(name, [number](const v1::ModelLabel& l) { return l.previous() == number; });
}

std::vector<v1::Precision> PrecisionsAfter(const KnownVersion& version) {
  std::vector<v1::Precision> precisions = version.precisions();
  if (version.card == nullptr) return precisions;
  std::replace(precisions.begin(), precisions.end(),
               ChoosePrecision(*version.card, v1::PRECISION_UNSPECIFIED),
               v1::PRECISION_UNSPECIFIED);
  return precisions;
}

const ServedVersion* FindServed(const KnownVersion& version, v1::Precision requested) {
  if (version.card == nullptr) return nullptr;
  const auto served = version.served.find(ChoosePrecision(*version.card, requested));
  return served != version.served.end() ? &served->second : nullptr;
}

v1::Model DescribeVersion(const KnownName& name, const KnownVersion& version) {
  v1::Model model;
  if (version.listed) {
    *model.mutable_card() = *version.card;
    if (version.evaluations.ok()) {
      model.mutable_evaluations()->Add(version.evaluations->begin(), version.evaluations->end());
    }
    model.set_size_bytes(version.size_bytes);
    for (const v1::Precision precision : version.precisions()) model.add_in_memory(precision);
  } else {
    *model.mutable_card()->mutable_model() = version.id;
    model.set_damage(std::string(version.failure.status().message()));
  }
  model.set_path(version.path);
  if (!name.policy.ok()) return model;
  for (const v1::ModelLabel& label : name.policy->labels()) {
    if (label.version() == version.id.version()) model.add_labels(label.label());
  }
  model.set_is_default(Current(name, "") == &version);
  return model;
}

}  // namespace convd
