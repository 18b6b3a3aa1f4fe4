#ifndef CONVD_SERVER_JOBS_JOB_ID_H_
#define CONVD_SERVER_JOBS_JOB_ID_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace convd {

// "j-20260131-235959-042": the UTC time of submission to the millisecond, or one millisecond after
// `last` (an earlier id, or "") where that is later. So ids sort as text in the order of
// submission, and are unique across restarts too, once `last` comes from what was stored.
std::string NextJobId(absl::Time now, std::string_view last);

// INVALID_ARGUMENT where `id` can't be a job's; the field is "id". Any thread may call.
absl::Status CheckJobId(std::string_view id);

}  // namespace convd

#endif  // CONVD_SERVER_JOBS_JOB_ID_H_
