#ifndef CONVD_CORE_DATA_LABEL_NAMES_H_
#define CONVD_CORE_DATA_LABEL_NAMES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/data/limits.h"

namespace convd {

// OK for names that can stand in a model's file and on a terminal: at least one, each non-empty
// UTF-8 without control characters, none twice, within the limits. INVALID_ARGUMENT names the first
// that isn't, after `field` (a request's field or a file). Any thread may call.
absl::Status CheckLabelNames(const std::string& field, const std::vector<std::string>& names,
                             const DataLimits& limits);

}  // namespace convd

#endif  // CONVD_CORE_DATA_LABEL_NAMES_H_
