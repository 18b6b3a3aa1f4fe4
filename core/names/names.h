#ifndef CONVD_CORE_NAMES_NAMES_H_
#define CONVD_CORE_NAMES_NAMES_H_

#include <string_view>

#include "absl/status/status.h"

namespace convd {

// OK for [A-Za-z0-9][A-Za-z0-9._-]{0,63}: the only form in which a model, dataset, split, network
// or layer is named, since names become files and folders. Otherwise INVALID_ARGUMENT with `field`,
// what was given (escaped, shortened) and what would be right. Any thread may call.
absl::Status CheckName(std::string_view field, std::string_view name);

}  // namespace convd

#endif  // CONVD_CORE_NAMES_NAMES_H_
