#include "server/auth/scope.h"

#include <algorithm>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace convd {
namespace {

constexpr Scope kScopes[] = {Scope::kRead, Scope::kPredict, Scope::kTrain, Scope::kAdmin};

}  // namespace

absl::string_view ToString(Scope scope) {
  switch (scope) {
    case Scope::kNone:
      return "none";
    case Scope::kRead:
      return "read";
    case Scope::kPredict:
      return "predict";
    case Scope::kTrain:
      return "train";
    case Scope::kAdmin:
      return "admin";
  }
  return "unknown";
}

std::string ToString(ScopeSet scopes) {
  std::vector<absl::string_view> names;
  for (const Scope scope : kScopes) {
    if (scopes.Has(scope)) names.push_back(ToString(scope));
  }
  return names.empty() ? "none" : absl::StrJoin(names, ",");
}

absl::StatusOr<ScopeSet> ParseScopes(absl::string_view text) {
  ScopeSet scopes;
  for (const absl::string_view name : absl::StrSplit(text, ',')) {
    const auto* const scope = std::find_if(std::begin(kScopes), std::end(kScopes),
                                           [&](Scope s) { return ToString(s) == name; });
    if (scope == std::end(kScopes) || scopes.Has(*scope)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "scopes: got \"", absl::CHexEscape(text.substr(0, 60)),
          "\"; want some of read, predict, train and admin, each once, with commas between"));
    }
    scopes.Add(*scope);
  }
  return scopes;
}

}  // namespace convd
