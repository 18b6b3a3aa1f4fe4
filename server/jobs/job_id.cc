#include "server/jobs/job_id.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace convd {
namespace {

constexpr std::string_view kForm = "j-00000000-000000-000";
constexpr size_t kSeconds = 15;  // "20260131-235959"
constexpr size_t kMaxShown = 80;

std::string Format(absl::Time time) {
  const absl::TimeZone utc = absl::UTCTimeZone();
  const int64_t milliseconds = absl::ToUnixMillis(time) % 1000;
  return absl::StrCat("j-", absl::FormatTime("%E4Y%m%d-%H%M%S", time, utc),
                      absl::StrFormat("-%03d", milliseconds));
}

absl::Time Parse(std::string_view id) {
  absl::Time time;
  std::string error;
  int milliseconds = 0;
  if (!absl::ParseTime("%E4Y%m%d-%H%M%S", absl::string_view(id.data() + 2, kSeconds), &time,
                       &error) ||
      !absl::SimpleAtoi(absl::string_view(id.data() + 2 + kSeconds + 1, 3), &milliseconds)) {
    return absl::UnixEpoch();
  }
  return time + absl::Milliseconds(milliseconds);
}

}  // namespace

std::string NextJobId(absl::Time now, std::string_view last) {
  // A clock that was never set still gives ids of four-digit years.
  const absl::Time first = absl::UnixEpoch();
  const absl::Time final = absl::FromUnixSeconds(253402300799);  // 9999-12-31T23:59:59
  absl::Time time = std::clamp(absl::FromUnixMillis(absl::ToUnixMillis(now)), first, final);
  if (CheckJobId(last).ok()) time = std::max(time, Parse(last) + absl::Milliseconds(1));
  return Format(time);
}

absl::Status CheckJobId(std::string_view id) {
  bool right = id.size() == kForm.size();
  for (size_t i = 0; right && i < id.size(); ++i) {
    right = kForm[i] == '0' ? absl::ascii_isdigit(static_cast<unsigned char>(id[i]))
                            : id[i] == kForm[i];
  }
  if (right) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "id: got \"", absl::CEscape(absl::string_view(id.data(), std::min(id.size(), kMaxShown))),
      id.size() > kMaxShown ? "..." : "",
      "\"; want a job's id, as Train gave it: j-YYYYMMDD-HHMMSS-mmm"));
}

}  // namespace convd
