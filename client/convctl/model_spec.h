#ifndef CONVD_CLIENT_CONVCTL_MODEL_SPEC_H_
#define CONVD_CLIENT_CONVCTL_MODEL_SPEC_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "convd/v1/model.pb.h"

namespace convd {

// NAME, NAME:VERSION or NAME@VERSION, or a label in the version's place; without either what the
// name stands for at the server. A usage error (exit_code.h) for an empty name or a version that is
// no number from 1 on. Whether the name or label may be one is the server's to say. Any thread may
// call.
absl::StatusOr<v1::ModelVersion> ParseModelSpec(std::string_view spec);

// "NAME@VERSION", as ParseModelSpec reads it.
std::string ModelSpec(const v1::ModelVersion& model);

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_MODEL_SPEC_H_
