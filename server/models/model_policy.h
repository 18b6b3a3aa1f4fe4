#ifndef CONVD_SERVER_MODELS_MODEL_POLICY_H_
#define CONVD_SERVER_MODELS_MODEL_POLICY_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "convd/v1/models.pb.h"
#include "core/storage/file_system.h"

// What a model's labels stand for and how many versions are kept, as it lies in
// STATE/models/NAME/policy.textproto. Functions only; any thread may call.

namespace convd {

// The label that always means the newest version, and is never moved.
inline constexpr char kLatestLabel[] = "latest";
inline constexpr char kPolicyFile[] = "policy.textproto";

// OK for a name (core/names) that isn't a number, which would look like a version. "latest" is one.
absl::Status CheckLabel(std::string_view field, const std::string& label);

// Where no file is there: no labels, the newest version is the default, all are kept. DATA_LOSS
// where the file makes no sense.
absl::StatusOr<v1::ModelPolicy> ReadPolicy(FileSystem& fs, const std::string& models_dir,
                                           const std::string& name);
// On disk before it returns; after an error either the old one or this is there.
absl::Status WritePolicy(FileSystem& fs, const std::string& models_dir,
                         const v1::ModelPolicy& policy);

// NOT_FOUND says which labels there are.
absl::StatusOr<const v1::ModelLabel*> FindLabel(const v1::ModelPolicy& policy,
                                                const std::string& label);

// RESOURCE_EXHAUSTED past a hundred labels.
absl::Status MoveLabel(v1::ModelPolicy& policy, const std::string& label, int64_t version,
                       absl::Time now);
// FAILED_PRECONDITION for the default label.
absl::Status RemoveLabel(v1::ModelPolicy& policy, const std::string& label);

}  // namespace convd

#endif  // CONVD_SERVER_MODELS_MODEL_POLICY_H_
