#ifndef CONVD_SERVER_MODELS_MODEL_LABELS_H_
#define CONVD_SERVER_MODELS_MODEL_LABELS_H_

#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "convd/v1/models.pb.h"
#include "core/storage/file_system.h"
#include "core/time/clock.h"
#include "server/models/served_versions.h"

namespace convd {

// Changes what labels and names stand for: each change is checked, what then answers is loaded, and
// it is on disk before ServedVersions is told. What a change returns is the new policy. One thread
// at a time; what it is given outlives it.
class ModelLabels {
 public:
  ModelLabels(FileSystem& fs, const Clock& clock, std::string models_dir, ServedVersions& versions)
      : fs_(fs), clock_(clock), models_dir_(std::move(models_dir)), versions_(versions) {}

  // As ModelRepository has them.
  absl::StatusOr<v1::ModelPolicy> Move(const std::string& name, const std::string& label,
                                       int64_t version);
  absl::StatusOr<v1::ModelPolicy> RollBack(const std::string& name, const std::string& label);
  absl::StatusOr<v1::ModelPolicy> Remove(const std::string& name, const std::string& label);
  absl::StatusOr<v1::ModelPolicy> Update(const v1::UpdateModelPolicyRequest& change);

  // Whatever it says; nothing is checked or loaded.
  absl::StatusOr<v1::ModelPolicy> Set(v1::ModelPolicy policy);
  // Where it could not be read or written.
  void ReadAgain(const std::string& name);

 private:
  // Of a checked name, checked labels and a version; `label` moves to it.
  absl::StatusOr<v1::ModelPolicy> MoveIn(v1::ModelPolicy policy, const std::string& label,
                                         int64_t version);

  FileSystem& fs_;
  const Clock& clock_;
  const std::string models_dir_;
  ServedVersions& versions_;
  // Names whose policy could not be written, and may be the new one on the disk or the old.
  std::set<std::string> unsure_;
};

}  // namespace convd

#endif  // CONVD_SERVER_MODELS_MODEL_LABELS_H_
