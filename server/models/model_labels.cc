#include "server/models/model_labels.h"

#include "absl/strings/str_cat.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"
#include "server/models/model_policy.h"

namespace convd {

absl::StatusOr<v1::ModelPolicy> ModelLabels::Set(v1::ModelPolicy policy) {
  if (const absl::Status written = WritePolicy(fs_, models_dir_, policy); !written.ok()) {
    // Either is there now, and a restart would go by it.
    unsure_.insert(policy.name());
    ReadAgain(policy.name());
    return written;
  }
  unsure_.erase(policy.name());
  versions_.SetPolicy(policy.name(), policy);
  return policy;
}

void ModelLabels::ReadAgain(const std::string& name) {
  const absl::Status known = versions_.Policy(name).status();
  const bool unsure = unsure_.count(name) > 0;
  if (absl::IsNotFound(known) || (known.ok() && !unsure)) return;
  absl::StatusOr<v1::ModelPolicy> policy = ReadPolicy(fs_, models_dir_, name);
  // Where the disk is lost, what was known goes on.
  if (known.ok() && !policy.ok()) return;
  if (policy.ok()) unsure_.erase(name);
  versions_.SetPolicy(name, std::move(policy));
}

absl::StatusOr<v1::ModelPolicy> ModelLabels::MoveIn(v1::ModelPolicy policy,
                                                    const std::string& label, int64_t version) {
  v1::ModelVersion next;
  next.set_name(policy.name());
  next.set_version(version);
  if (version == 0) next.set_label(kLatestLabel);
  CONVD_ASSIGN_OR_RETURN(const v1::Model model, versions_.Get(next));
  next = model.card().model();
  CONVD_RETURN_IF_ERROR(versions_.PrepareToTakeOver(policy.name(), label, next));
  CONVD_RETURN_IF_ERROR(convd::MoveLabel(policy, label, next.version(), clock_.Now()));
  return Set(std::move(policy));
}

absl::StatusOr<v1::ModelPolicy> ModelLabels::Move(const std::string& name, const std::string& label,
                                                  int64_t version) {
  CONVD_RETURN_IF_ERROR(CheckName("name", name));
  CONVD_RETURN_IF_ERROR(CheckLabel("label", label));
  if (label == kLatestLabel) {
    return absl::InvalidArgumentError(
        "label: \"latest\" is always the newest version and can't be moved; want another one");
  }
  if (version < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("version: got ", version, "; want 0 (the newest) or a version's number"));
  }
  CONVD_ASSIGN_OR_RETURN(v1::ModelPolicy policy, versions_.Policy(name));
  return MoveIn(std::move(policy), label, version);
}

absl::StatusOr<v1::ModelPolicy> ModelLabels::RollBack(const std::string& name,
                                                      const std::string& label) {
  CONVD_RETURN_IF_ERROR(CheckName("name", name));
  if (!label.empty()) CONVD_RETURN_IF_ERROR(CheckLabel("label", label));
  CONVD_ASSIGN_OR_RETURN(v1::ModelPolicy policy, versions_.Policy(name));
  const std::string meant = label.empty() ? policy.default_label() : label;
  if (meant.empty() || meant == kLatestLabel) {
    return absl::FailedPreconditionError(
        absl::StrCat("label: the newest version is the default of \"", name,
                     "\", and can't be rolled back; give a label to a version and make it the "
                     "default, or name the label"));
  }
  CONVD_ASSIGN_OR_RETURN(const v1::ModelLabel* const found, FindLabel(policy, meant));
  const int64_t previous = found->previous();
  if (previous == 0) {
    return absl::FailedPreconditionError(absl::StrCat("label: \"", meant, "\" of \"", name,
                                                      "\" has stood for version ", found->version(),
                                                      " only, so there is nothing to go back to"));
  }
  return MoveIn(std::move(policy), meant, previous);
}

absl::StatusOr<v1::ModelPolicy> ModelLabels::Remove(const std::string& name,
                                                    const std::string& label) {
  CONVD_RETURN_IF_ERROR(CheckName("name", name));
  CONVD_RETURN_IF_ERROR(CheckLabel("label", label));
  CONVD_ASSIGN_OR_RETURN(v1::ModelPolicy policy, versions_.Policy(name));
  CONVD_RETURN_IF_ERROR(convd::RemoveLabel(policy, label));
  return Set(std::move(policy));
}

absl::StatusOr<v1::ModelPolicy> ModelLabels::Update(const v1::UpdateModelPolicyRequest& change) {
  CONVD_RETURN_IF_ERROR(CheckName("name", change.name()));
  if (change.keep() < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("keep: got ", change.keep(), "; want a number of versions, or 0 for all"));
  }
  CONVD_ASSIGN_OR_RETURN(v1::ModelPolicy policy, versions_.Policy(change.name()));
  if (change.has_keep()) policy.set_keep(change.keep());
  if (change.has_default_label()) {
    std::string label = change.default_label();
    if (label == kLatestLabel) label.clear();
    v1::ModelVersion next;
    next.set_name(policy.name());
    next.set_label(kLatestLabel);
    if (!label.empty()) {
      CONVD_RETURN_IF_ERROR(CheckLabel("default_label", label));
      CONVD_ASSIGN_OR_RETURN(const v1::ModelLabel* const found, FindLabel(policy, label));
      next.clear_label();
      next.set_version(found->version());
    }
    CONVD_RETURN_IF_ERROR(versions_.PrepareToTakeOver(policy.name(), "", next));
    policy.set_default_label(label);
  }
  return Set(std::move(policy));
}

}  // namespace convd
