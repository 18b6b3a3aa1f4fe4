#include "server/jobs/transitions.h"

#include "absl/strings/str_cat.h"

namespace convd {
namespace {

struct Transition {
  v1::JobState from;
  v1::JobState to;
};

constexpr Transition kTransitions[] = {
    {v1::JOB_STATE_QUEUED, v1::JOB_STATE_RUNNING},     // a place is free
    {v1::JOB_STATE_QUEUED, v1::JOB_STATE_PAUSED},      // PauseJob
    {v1::JOB_STATE_QUEUED, v1::JOB_STATE_CANCELLED},   // CancelJob
    {v1::JOB_STATE_RUNNING, v1::JOB_STATE_SUCCEEDED},  // after its version was published
    {v1::JOB_STATE_RUNNING, v1::JOB_STATE_FAILED},  // with an error; or it ended the server thrice
    {v1::JOB_STATE_RUNNING, v1::JOB_STATE_CANCELLED},  // CancelJob, at the next cut
    // PauseJob, once the checkpoint is written; or the one that is there is another machine's
    {v1::JOB_STATE_RUNNING, v1::JOB_STATE_PAUSED},
    // The server stopped, and it goes on at the next start; or it began without its memory
    {v1::JOB_STATE_RUNNING, v1::JOB_STATE_QUEUED},
    {v1::JOB_STATE_PAUSED, v1::JOB_STATE_QUEUED},     // ResumeJob
    {v1::JOB_STATE_PAUSED, v1::JOB_STATE_CANCELLED},  // CancelJob
};

}  // namespace

absl::Status CheckTransition(v1::JobState from, v1::JobState to) {
  for (const Transition& lawful : kTransitions) {
    if (lawful.from == from && lawful.to == to) return absl::OkStatus();
  }
  const std::string_view is = StateName(from);
  const std::string_view wanted = StateName(to);
  return absl::FailedPreconditionError(
      absl::StrCat("a job that is ", absl::string_view(is.data(), is.size()), " can't become ",
                   absl::string_view(wanted.data(), wanted.size())));
}

bool IsFinal(v1::JobState state) {
  return state == v1::JOB_STATE_SUCCEEDED || state == v1::JOB_STATE_FAILED ||
         state == v1::JOB_STATE_CANCELLED;
}

std::string_view StateName(v1::JobState state) {
  switch (state) {
    case v1::JOB_STATE_QUEUED:
      return "QUEUED";
    case v1::JOB_STATE_RUNNING:
      return "RUNNING";
    case v1::JOB_STATE_SUCCEEDED:
      return "SUCCEEDED";
    case v1::JOB_STATE_FAILED:
      return "FAILED";
    case v1::JOB_STATE_CANCELLED:
      return "CANCELLED";
    case v1::JOB_STATE_PAUSED:
      return "PAUSED";
    default:
      return "in no known state";
  }
}

}  // namespace convd
