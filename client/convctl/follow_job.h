#ifndef CONVD_CLIENT_CONVCTL_FOLLOW_JOB_H_
#define CONVD_CLIENT_CONVCTL_FOLLOW_JOB_H_

#include <string>

#include "absl/status/status.h"
#include "client/convctl/session.h"

namespace convd {

// Shows a job until it has ended: a bar or plain lines, or with --json each event on a line. OK
// when it succeeded; an error with kExitJobEnded when it failed or was cancelled, with
// kExitInterrupted when Ctrl-C ended the watching (the job goes on).
absl::Status FollowJob(Session& session, const std::string& id);

// What is said on stderr when the server is lost and tried for again.
std::string LostServerNote();

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_FOLLOW_JOB_H_
