#ifndef CONVD_SERVER_HTTP_QUERY_H_
#define CONVD_SERVER_HTTP_QUERY_H_

#include <cstdint>
#include <initializer_list>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/http/http.h"

namespace convd {

// INVALID_ARGUMENT naming what of the query is none of `known`, or comes twice.
absl::Status CheckQuery(const HttpRequest& request, std::initializer_list<absl::string_view> known);

// The value of `name`; what it is without one where the query hasn't got it. INVALID_ARGUMENT names
// it.
absl::StatusOr<int32_t> QueryInteger(const HttpRequest& request, absl::string_view name,
                                     int32_t without);
absl::StatusOr<bool> QueryFlag(const HttpRequest& request, absl::string_view name, bool without);

}  // namespace convd

#endif  // CONVD_SERVER_HTTP_QUERY_H_
