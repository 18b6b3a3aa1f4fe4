#include "client/convctl/follow_job.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "client/convctl/exit_code.h"
#include "client/convctl/interrupt.h"
#include "client/convctl/job_printer.h"
#include "client/convctl/progress_bar.h"
#include "core/status/status_macros.h"

namespace convd {

std::string LostServerNote() {
  return absl::StrCat("Lost the server; trying for it again for up to ",
                      absl::FormatDuration(ClientOptions().reconnect_timeout), ".");
}

absl::Status FollowJob(Session& session, const std::string& id) {
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  Cancellation cancellation;
  CONVD_ASSIGN_OR_RETURN(const std::unique_ptr<InterruptScope> interrupt,
                         InterruptScope::Begin([&] { cancellation.Cancel(); }));
  JobPrinter printer(
      session.terminal(), [&] { return session.width(); },
      [&](std::string_view text) {
        session.Print(text);
        session.Flush();
      });
  absl::Status print_status;
  bool lost = false;
  const absl::StatusOr<v1::Job> job = client->Watch(
      id,
      [&](const v1::JobEvent& event) {
        if (!session.json()) {
          printer.OnEvent(event);
        } else if (print_status.ok()) {
          print_status = session.PrintJson(event, /*one_line=*/true);
        }
      },
      &cancellation, /*after_epoch=*/0,
      [&] {
        lost = true;
        printer.Clear();
        session.PrintNote(LostServerNote());
      });
  printer.Clear();
  if (interrupt->interrupted()) {
    return InterruptedError(
        absl::StrCat("Stopped watching; the job goes on. Look again with `convctl watch ", id,
                     "`, end it with `convctl cancel ", id, "`."));
  }
  if (lost && absl::IsUnavailable(job.status())) {
    return WithHint(job.status(),
                    absl::StrCat("the job goes on when the server is back; then look again with "
                                 "`convctl watch ",
                                 id, "`"));
  }
  CONVD_RETURN_IF_ERROR(job.status());
  CONVD_RETURN_IF_ERROR(print_status);
  switch (job->state()) {
    case v1::JOB_STATE_SUCCEEDED:
      if (!session.json()) session.Print(absl::StrCat(ResultLine(*job), "\n"));
      return absl::OkStatus();
    case v1::JOB_STATE_CANCELLED:
      return JobEndedError(absl::StrCat("job ", id, " was cancelled"));
    default:
      return JobEndedError(absl::StrCat("job ", id, " failed: ", job->error().message()));
  }
}

}  // namespace convd
