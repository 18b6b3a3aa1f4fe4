#ifndef CONVD_CORE_STATUS_THROWN_H_
#define CONVD_CORE_STATUS_THROWN_H_

#include <exception>
#include <new>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace convd {

// What `attempt` returns, a Status or StatusOr. Nothing of ours throws, but the standard library
// and oneDNN do when memory is short, and on a thread of ours that would end the server: then
// RESOURCE_EXHAUSTED, or INTERNAL for anything else that was thrown, beginning with `what`.
template <typename Attempt>
auto OrWhatItThrows(std::string_view what, Attempt&& attempt) -> decltype(attempt()) {
  const absl::string_view shown(what.data(), what.size());
  try {
    return attempt();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(absl::StrCat(shown, ": no memory for it"));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat(shown, ": ", error.what()));
  }
}

}  // namespace convd

#endif  // CONVD_CORE_STATUS_THROWN_H_
