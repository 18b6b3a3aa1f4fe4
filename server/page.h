#ifndef CONVD_SERVER_PAGE_H_
#define CONVD_SERVER_PAGE_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace convd {

// What every list answered in pages has in common. Any thread may call.

// A page ends here too, however few entries it has, but never empty.
inline constexpr size_t kPageBytes = size_t{1} << 20;

// How many entries a page holds: 50 where 0 is asked for, at most 1,000. INVALID_ARGUMENT below 0.
absl::StatusOr<int> PageSize(int32_t requested);

// INVALID_ARGUMENT for a page_token that no list of this server gave out.
absl::Status UnknownPageToken();

}  // namespace convd

#endif  // CONVD_SERVER_PAGE_H_
