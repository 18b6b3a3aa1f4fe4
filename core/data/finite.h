#ifndef CONVD_CORE_DATA_FINITE_H_
#define CONVD_CORE_DATA_FINITE_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/data/dataset.h"

namespace convd {

// Index of the first value that is infinite or not a number; values.size() where there is none.
size_t FirstNonFinite(absl::Span<const float> values);

// INVALID_ARGUMENT where one of the pixels is not finite: "WHAT: image 3, row 1, column 2, channel
// 0 is nan; want finite values", the images counted from `first_image`. uint8 pixels are always
// finite. Pixels are looked at once, where they come in; what computes with them relies on it.
absl::Status CheckFinite(absl::string_view what, const ImageSet& images, int64_t first_image = 0);

}  // namespace convd

#endif  // CONVD_CORE_DATA_FINITE_H_
