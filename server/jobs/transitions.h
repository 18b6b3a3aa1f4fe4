#ifndef CONVD_SERVER_JOBS_TRANSITIONS_H_
#define CONVD_SERVER_JOBS_TRANSITIONS_H_

#include <string_view>

#include "absl/status/status.h"
#include "convd/v1/jobs.pb.h"

namespace convd {

// OK where a job in state `from` may change to `to`, by the table that jobs.proto writes down;
// else FAILED_PRECONDITION with both. Any thread may call.
absl::Status CheckTransition(v1::JobState from, v1::JobState to);

// True where a job in this state changes no more.
bool IsFinal(v1::JobState state);

// "QUEUED", as people read it.
std::string_view StateName(v1::JobState state);

}  // namespace convd

#endif  // CONVD_SERVER_JOBS_TRANSITIONS_H_
