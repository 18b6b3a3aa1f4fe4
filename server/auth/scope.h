#ifndef CONVD_SERVER_AUTH_SCOPE_H_
#define CONVD_SERVER_AUTH_SCOPE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace convd {

// What a call needs and a principal has. None implies another: whoever may administer but not
// predict can't predict.
enum class Scope : uint8_t {
  kNone,     // open to everyone: health
  kRead,     // list, get, watch, explain, export
  kPredict,  // predict, evaluate
  kTrain,    // jobs and datasets: make, change, delete
  kAdmin,    // models: labels, policies, memory, delete, import
};

// "read", "predict", "train", "admin", as tokens files have them; "none".
absl::string_view ToString(Scope scope);

// A set of scopes. A small value.
class ScopeSet {
 public:
  constexpr ScopeSet() = default;
  static constexpr ScopeSet All() { return ScopeSet(0x1e); }

  constexpr void Add(Scope scope) { bits_ |= Bit(scope); }
  // kNone is in every set.
  constexpr bool Has(Scope scope) const { return scope == Scope::kNone || (bits_ & Bit(scope)); }
  constexpr bool empty() const { return bits_ == 0; }
  constexpr bool operator==(const ScopeSet&) const = default;

 private:
  constexpr explicit ScopeSet(uint8_t bits) : bits_(bits) {}
  static constexpr uint8_t Bit(Scope scope) {
    return scope == Scope::kNone ? 0 : uint8_t(1 << static_cast<int>(scope));
  }
  uint8_t bits_ = 0;
};

// "predict,train", in the order above; "none" where empty.
std::string ToString(ScopeSet scopes);

// The same, read: names with commas between, each once, at least one. INVALID_ARGUMENT names what
// is no scope, and those that are.
absl::StatusOr<ScopeSet> ParseScopes(absl::string_view text);

}  // namespace convd

#endif  // CONVD_SERVER_AUTH_SCOPE_H_
