#include "client/convctl/number_text.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"

namespace convd {

std::string Thousands(int64_t value) {
  // Negating the least int64 overflows; as digits it is a number like any other.
  const std::string digits = absl::StrCat(value);
  const size_t first = value < 0 ? 1 : 0;
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > first && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

std::string Bytes(int64_t bytes) {
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  double value = static_cast<double>(bytes);
  const char* unit = "";
  for (const char* next : {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}) {
    unit = next;
    value /= 1024;
    if (value < 1023.95) break;  // else it would be shown as 1024.0
  }
  return absl::StrFormat("%.1f %s", value, unit);
}

std::string Seconds(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  if (seconds < 9.95) return absl::StrFormat("%.1fs", seconds);
  if (seconds < 59.5) return absl::StrFormat("%.0fs", seconds);
  const int64_t whole = std::llround(std::min(seconds, 1e15));
  if (whole < 3600) return absl::StrFormat("%d:%02d", whole / 60, whole % 60);
  return absl::StrFormat("%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string Four(double value) {
  if (std::isnan(value)) return "nan";
  return absl::StrFormat("%.4f", value);
}

std::string Rate(double per_second) {
  if (!std::isfinite(per_second) || per_second < 0 || per_second > 1e15) return "?";
  if (per_second < 9.95) return absl::StrFormat("%.2f", per_second);
  return Thousands(std::llround(per_second));
}

std::string LocalTime(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0 && time.nanos() == 0) return "-";
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixSeconds(time.seconds()),
                          absl::LocalTimeZone());
}

}  // namespace convd
