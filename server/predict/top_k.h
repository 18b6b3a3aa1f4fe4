#ifndef CONVD_SERVER_PREDICT_TOP_K_H_
#define CONVD_SERVER_PREDICT_TOP_K_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace convd {

// What a request's top_k stands for: 0 is 1. INVALID_ARGUMENT where it is negative or beyond
// `classes`.
absl::StatusOr<int> ResolveTopK(int32_t top_k, int classes);

// Indices of the `k` greatest values, greatest first, of equal ones the lower index. REQUIRES: 1 <=
// k <= values.size(), no NaN.
std::vector<int> TopK(absl::Span<const float> values, int k);

}  // namespace convd

#endif  // CONVD_SERVER_PREDICT_TOP_K_H_
