#ifndef CONVD_SERVER_INFERENCE_PARAMETERS_H_
#define CONVD_SERVER_INFERENCE_PARAMETERS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace convd {

// A string that somebody else made as errors show it: quoted, escaped, shortened.
std::string Shown(absl::string_view text);

// INVALID_ARGUMENT names the parameter, and the one that is known, where that isn't empty.
absl::Status UnknownParameter(absl::string_view field, absl::string_view name,
                              absl::string_view known);

// What asks for something that this server doesn't do is refused rather than left undone: OK where
// a request's parameters (a protobuf map) are none but `known`. Any thread may call.
template <typename Parameters>
absl::Status CheckParameters(absl::string_view field, const Parameters& parameters,
                             absl::string_view known = "") {
  // The least of them, since a map has no order.
  const std::string* unknown = nullptr;
  for (const auto& [name, value] : parameters) {
    if (!known.empty() && name == known) continue;
    if (unknown == nullptr || name < *unknown) unknown = &name;
  }
  return unknown == nullptr ? absl::OkStatus() : UnknownParameter(field, *unknown, known);
}

}  // namespace convd

#endif  // CONVD_SERVER_INFERENCE_PARAMETERS_H_
