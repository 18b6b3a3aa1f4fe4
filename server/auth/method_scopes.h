#ifndef CONVD_SERVER_AUTH_METHOD_SCOPES_H_
#define CONVD_SERVER_AUTH_METHOD_SCOPES_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/auth/scope.h"

namespace convd {

// What an RPC asks of its caller.
struct MethodScope {
  absl::string_view method;  // "/convd.v1.Jobs/Train", as gRPC names it
  Scope scope;
  bool audited;  // it changes something that lasts, or what is served
};

// The table of docs/security.md, sorted by method.
absl::Span<const MethodScope> MethodScopes();

// Null where the table has no such method.
const MethodScope* FindMethodScope(absl::string_view method);

// OK where the table names each method of these services, by their full names, and of no others;
// INTERNAL names what is missing or too many. Services are looked up among protobuf's descriptors.
absl::Status CheckMethodScopes(const std::vector<std::string>& services);

}  // namespace convd

#endif  // CONVD_SERVER_AUTH_METHOD_SCOPES_H_
