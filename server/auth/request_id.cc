#include "server/auth/request_id.h"

#include <sys/random.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

#include "absl/strings/ascii.h"

namespace convd {
namespace {

bool IsWellFormed(absl::string_view id) {
  return !id.empty() && id.size() <= 64 && std::all_of(id.begin(), id.end(), [](unsigned char c) {
    return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
  });
}

// Another start for each process, so that a restart doesn't repeat what older logs have.
uint64_t FirstNumber() {
  uint64_t number = 0;
  if (getrandom(&number, sizeof number, 0) != sizeof number) return 1;
  return number;
}

bool IsHex(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f');
  });
}

bool IsZero(absl::string_view text) {
  return text.find_first_not_of('0') == absl::string_view::npos;
}

}  // namespace

RequestId::RequestId(absl::string_view from_client) {
  if (IsWellFormed(from_client)) {
    size_ = from_client.size();
    std::memcpy(text_.data(), from_client.data(), size_);
    return;
  }
  // The order is nobody's concern: only that no two are the same.
  static std::atomic<uint64_t> next(FirstNumber());
  uint64_t number = next.fetch_add(1, std::memory_order_relaxed);
  size_ = 16;
  for (size_t i = size_; i-- > 0; number >>= 4) text_[i] = "0123456789abcdef"[number & 15];
}

absl::string_view TraceId(absl::string_view traceparent) {
  // version-trace-parent-flags; later versions may have more behind.
  constexpr size_t kSize = 2 + 1 + 32 + 1 + 16 + 1 + 2;
  if (traceparent.size() < kSize) return {};
  const absl::string_view version = traceparent.substr(0, 2);
  const absl::string_view trace = traceparent.substr(3, 32);
  const absl::string_view parent = traceparent.substr(36, 16);
  const bool right = traceparent[2] == '-' && traceparent[35] == '-' && traceparent[52] == '-' &&
                     IsHex(version) && version != "ff" && IsHex(trace) && !IsZero(trace) &&
                     IsHex(parent) && !IsZero(parent) && IsHex(traceparent.substr(53, 2));
  if (!right) return {};
  const bool ends = traceparent.size() == kSize || (version != "00" && traceparent[kSize] == '-');
  return ends ? trace : absl::string_view();
}

}  // namespace convd
