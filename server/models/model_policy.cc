#include "server/models/model_policy.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/names/names.h"
#include "core/status/status_macros.h"
#include "server/record_text.h"

namespace convd {
namespace {

constexpr int kMaxLabels = 100;
constexpr int64_t kMaxPolicyBytes = int64_t{1} << 20;

std::string PolicyPath(const std::string& models_dir, const std::string& name) {
  return absl::StrCat(models_dir, "/", name, "/", kPolicyFile);
}

bool BeforeInName(const v1::ModelLabel& a, const v1::ModelLabel& b) {
  return a.label() < b.label();
}

absl::Status CheckPolicy(const v1::ModelPolicy& policy, const std::string& name) {
  if (policy.name() != name) {
    return absl::DataLossError(absl::StrCat("is of model \"", absl::CEscape(policy.name()), "\""));
  }
  if (policy.labels_size() > kMaxLabels || policy.keep() < 0 || policy.highest_version() < 0) {
    return absl::DataLossError("has a figure out of range");
  }
  for (int i = 0; i < policy.labels_size(); ++i) {
    const v1::ModelLabel& label = policy.labels(i);
    CONVD_RETURN_IF_ERROR(CheckLabel("label", label.label()));
    if (label.label() == kLatestLabel || label.version() < 1 || label.previous() < 0) {
      return absl::DataLossError(absl::StrCat("label \"", label.label(), "\" makes no sense"));
    }
    if (i > 0 && !BeforeInName(policy.labels(i - 1), label)) {
      return absl::DataLossError("its labels are not in order");
    }
  }
  if (!policy.default_label().empty()) {
    CONVD_RETURN_IF_ERROR(FindLabel(policy, policy.default_label()).status());
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckLabel(std::string_view field, const std::string& label) {
  CONVD_RETURN_IF_ERROR(CheckName(field, label));
  if (label.find_first_not_of("0123456789") != std::string::npos) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(absl::string_view(field.data(), field.size()), ": got \"", label,
                   "\", which would be taken for a version's number; want a word"));
}

absl::StatusOr<v1::ModelPolicy> ReadPolicy(FileSystem& fs, const std::string& models_dir,
                                           const std::string& name) {
  v1::ModelPolicy policy;
  const std::string path = PolicyPath(models_dir, name);
  const absl::StatusOr<std::string> text = fs.Read(path, kMaxPolicyBytes);
  if (absl::IsNotFound(text.status())) {
    policy.set_name(name);
    return policy;
  }
  // Whatever it is that keeps it from being read, it is no caller's fault.
  if (!text.ok()) return absl::DataLossError(text.status().message());
  CONVD_RETURN_IF_ERROR(ParseRecord(path, *text, policy));
  if (const absl::Status status = CheckPolicy(policy, name); !status.ok()) {
    return absl::DataLossError(absl::StrCat(path, ": ", status.message()));
  }
  return policy;
}

absl::Status WritePolicy(FileSystem& fs, const std::string& models_dir,
                         const v1::ModelPolicy& policy) {
  return WriteFileAtomically(fs, PolicyPath(models_dir, policy.name()), RecordText(policy));
}

absl::StatusOr<const v1::ModelLabel*> FindLabel(const v1::ModelPolicy& policy,
                                                const std::string& label) {
  for (const v1::ModelLabel& found : policy.labels()) {
    if (found.label() == label) return &found;
  }
  const std::string labels =
      absl::StrJoin(policy.labels(), ", ", [](std::string* out, const v1::ModelLabel& found) {
        absl::StrAppend(out, "\"", found.label(), "\"");
      });
  return absl::NotFoundError(absl::StrCat("model: \"", policy.name(), "\" has no label \"", label,
                                          "\"; it has ", labels.empty() ? "none" : labels));
}

absl::Status MoveLabel(v1::ModelPolicy& policy, const std::string& label, int64_t version,
                       absl::Time now) {
  auto* const labels = policy.mutable_labels();
  auto found = std::find_if(labels->begin(), labels->end(),
                            [&](const v1::ModelLabel& l) { return l.label() == label; });
  if (found == labels->end()) {
    if (labels->size() == kMaxLabels) {
      return absl::ResourceExhaustedError(
          absl::StrCat("label: \"", policy.name(), "\" has ", kMaxLabels, " labels already"));
    }
    labels->Add()->set_label(label);
    std::sort(labels->begin(), labels->end(), BeforeInName);
    found = std::find_if(labels->begin(), labels->end(),
                         [&](const v1::ModelLabel& l) { return l.label() == label; });
  }
  if (found->version() == version) return absl::OkStatus();
  found->set_previous(found->version());
  found->set_version(version);
  const timespec time = absl::ToTimespec(now);
  found->mutable_moved()->set_seconds(time.tv_sec);
  found->mutable_moved()->set_nanos(static_cast<int32_t>(time.tv_nsec));
  return absl::OkStatus();
}

absl::Status RemoveLabel(v1::ModelPolicy& policy, const std::string& label) {
  CONVD_RETURN_IF_ERROR(FindLabel(policy, label).status());
  if (policy.default_label() == label) {
    return absl::FailedPreconditionError(absl::StrCat("label: \"", label, "\" is the default of \"",
                                                      policy.name(),
                                                      "\"; choose another default first"));
  }
  auto* const labels = policy.mutable_labels();
  labels->erase(std::remove_if(labels->begin(), labels->end(),
                               [&](const v1::ModelLabel& l) { return l.label() == label; }),
                labels->end());
  return absl::OkStatus();
}

}  // namespace convd
