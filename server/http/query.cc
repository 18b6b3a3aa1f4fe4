#include "server/http/query.h"

#include <algorithm>
#include <set>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace convd {
namespace {

absl::Status Wrong(absl::string_view name, absl::string_view got, absl::string_view want) {
  return absl::InvalidArgumentError(
      absl::StrCat(name, ": got \"", absl::CEscape(got.substr(0, 100)), "\"; want ", want));
}

bool Has(const HttpRequest& request, absl::string_view name) {
  return std::any_of(request.query.begin(), request.query.end(),
                     [name](const NameValue& value) { return value.first == name; });
}

}  // namespace

absl::Status CheckQuery(const HttpRequest& request,
                        std::initializer_list<absl::string_view> known) {
  std::set<absl::string_view> seen;
  for (const NameValue& value : request.query) {
    if (std::find(known.begin(), known.end(), value.first) == known.end()) {
      return Wrong("query", value.first, known.size() == 0 ? "none" : absl::StrJoin(known, ", "));
    }
    if (!seen.insert(value.first).second) {
      return Wrong("query", value.first, "each of them once");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<int32_t> QueryInteger(const HttpRequest& request, absl::string_view name,
                                     int32_t without) {
  if (!Has(request, name)) return without;
  int32_t number = 0;
  const absl::string_view text = Find(request.query, name);
  if (!absl::SimpleAtoi(text, &number)) return Wrong(name, text, "a whole number");
  return number;
}

absl::StatusOr<bool> QueryFlag(const HttpRequest& request, absl::string_view name, bool without) {
  if (!Has(request, name)) return without;
  const absl::string_view text = Find(request.query, name);
  if (text == "true" || text == "1" || text.empty()) return true;
  if (text == "false" || text == "0") return false;
  return Wrong(name, text, "true or false");
}

}  // namespace convd
