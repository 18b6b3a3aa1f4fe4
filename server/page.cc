#include "server/page.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace convd {
namespace {

constexpr int kDefaultPageSize = 50;
constexpr int kMaxPageSize = 1000;

}  // namespace

absl::StatusOr<int> PageSize(int32_t requested) {
  if (requested < 0) {
    return absl::InvalidArgumentError(absl::StrCat("page_size: got ", requested, "; want 0 (for ",
                                                   kDefaultPageSize, ") to ", kMaxPageSize));
  }
  return requested == 0 ? kDefaultPageSize : std::min<int>(requested, kMaxPageSize);
}

absl::Status UnknownPageToken() {
  return absl::InvalidArgumentError(
      "page_token: not one of this server's; want the next_page_token of the page before, or none");
}

}  // namespace convd
