#ifndef CONVD_CORE_STATUS_STATUS_MACROS_H_
#define CONVD_CORE_STATUS_STATUS_MACROS_H_

// Early return on error, for functions that return absl::Status or absl::StatusOr. Debian 12's
// Abseil has none.

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define CONVD_STATUS_CONCAT_(a, b) a##b
#define CONVD_STATUS_CONCAT(a, b) CONVD_STATUS_CONCAT_(a, b)

// CONVD_RETURN_IF_ERROR(file.Sync());
#define CONVD_RETURN_IF_ERROR(expr)                                                  \
  do {                                                                               \
    if (absl::Status convd_status = (expr); !convd_status.ok()) return convd_status; \
  } while (false)

// CONVD_ASSIGN_OR_RETURN(Graph graph, Graph::Create(network)); the declaration may not hold a bare
// comma.
#define CONVD_ASSIGN_OR_RETURN(lhs, expr) \
  CONVD_ASSIGN_OR_RETURN_(CONVD_STATUS_CONCAT(convd_status_or_, __LINE__), lhs, expr)
#define CONVD_ASSIGN_OR_RETURN_(var, lhs, expr)  \
  auto var = (expr);                             \
  if (!var.ok()) return std::move(var).status(); \
  lhs = *std::move(var)

#endif  // CONVD_CORE_STATUS_STATUS_MACROS_H_
