#include "server/predict/top_k.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"

namespace convd {

absl::StatusOr<int> ResolveTopK(int32_t top_k, int classes) {
  if (top_k == 0) return 1;
  if (top_k < 0 || top_k > classes) {
    return absl::InvalidArgumentError(absl::StrCat("top_k: got ", top_k, "; want 0 (for 1) to ",
                                                   classes,
                                                   ", the number of classes of this model"));
  }
  return top_k;
}

std::vector<int> TopK(absl::Span<const float> values, int k) {
  // max_element returns the first of equal ones, which is the lower index.
  if (k == 1) {
    return {static_cast<int>(std::max_element(values.begin(), values.end()) - values.begin())};
  }
  std::vector<int> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](int a, int b) {
    return values[a] != values[b] ? values[a] > values[b] : a < b;
  });
  order.resize(k);
  return order;
}

}  // namespace convd
