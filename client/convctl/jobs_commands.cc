#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/convctl/commands.h"
#include "client/convctl/exit_code.h"
#include "client/convctl/follow_job.h"
#include "client/convctl/job_text.h"
#include "client/convctl/number_text.h"
#include "client/convctl/terminal_text.h"
#include "client/convctl/whole_number.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

constexpr int64_t kUsualLimit = 50;

absl::Status ShowJob(Session& session, const std::string& id) {
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_ASSIGN_OR_RETURN(const v1::Job job, client->GetJob(id));
  if (session.json()) return session.PrintJson(job);
  session.Print(JobDetails(job));
  return absl::OkStatus();
}

absl::Status ListJobs(Session& session, int64_t limit) {
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_ASSIGN_OR_RETURN(const std::vector<v1::Job> jobs, client->ListJobs(limit));
  if (session.json()) {
    v1::ListJobsResponse all;
    all.mutable_jobs()->Add(jobs.begin(), jobs.end());
    return session.PrintJson(all);
  }
  session.Print(jobs.empty() ? "No jobs yet; `convctl train` submits one.\n" : JobsTable(jobs));
  return absl::OkStatus();
}

absl::Status Cancel(Session& session, const std::string& id) {
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_ASSIGN_OR_RETURN(const v1::Job job, client->CancelJob(id));
  if (session.json()) return session.PrintJson(job);
  session.Print(absl::StrCat(
      "Job ", Printable(job.id()),
      job.state() == v1::JOB_STATE_CANCELLED ? " is cancelled.\n" : " stops at its next cut.\n"));
  return absl::OkStatus();
}

absl::Status Pause(Session& session, const std::string& id) {
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  CONVD_ASSIGN_OR_RETURN(const v1::Job job, client->PauseJob(id));
  if (session.json()) return session.PrintJson(job);
  session.Print(job.state() == v1::JOB_STATE_PAUSED
                    ? absl::StrCat(StateLine(job), ".\n")
                    : absl::StrCat("Job ", Printable(job.id()),
                                   " pauses at its next cut, once its checkpoint is written.\n"));
  return absl::OkStatus();
}

absl::Status Resume(Session& session, const std::string& id, bool allow_different_bits) {
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  const absl::StatusOr<v1::Job> job = client->ResumeJob(id, allow_different_bits);
  if (absl::IsFailedPrecondition(job.status()) &&
      absl::StrContains(job.status().message(), "allow_different_bits")) {
    return WithHint(job.status(),
                    absl::StrCat("`convctl resume ", id,
                                 " --allow-different-bits` goes on here, with other bits"));
  }
  CONVD_RETURN_IF_ERROR(job.status());
  if (session.json()) return session.PrintJson(*job);
  session.Print(absl::StrCat(StateLine(*job), ".\n"));
  return absl::OkStatus();
}

absl::Status SetPriority(Session& session, const std::string& id, int32_t priority) {
  CONVD_ASSIGN_OR_RETURN(Client* const client, session.client());
  v1::UpdateJobRequest request;
  request.set_id(id);
  request.set_priority(priority);
  CONVD_ASSIGN_OR_RETURN(const v1::Job job, client->UpdateJob(request));
  if (session.json()) return session.PrintJson(job);
  session.Print(absl::StrCat(
      "Job ", Printable(job.id()), " has priority ", job.priority(),
      job.queue_position() > 0
          ? absl::StrCat(", and is number ", Thousands(job.queue_position()), " in line")
          : "",
      ".\n"));
  return absl::OkStatus();
}

}  // namespace

void AddJobsCommands(CLI::App& app, Command& chosen) {
  const auto id = std::make_shared<std::string>();
  const auto limit = std::make_shared<int64_t>(kUsualLimit);

  CLI::App* const jobs = app.add_subcommand("jobs", "List training jobs, or show one");
  jobs->add_option("id", *id, "Show this one, whole")->type_name("ID");
  jobs->add_option("--limit", *limit, "How many of the newest to list; 0 is all")
      ->type_name("N")
      ->capture_default_str()
      ->check(WholeNumber<int64_t>(0));
  jobs->callback([id, limit, &chosen] {
    chosen = [id, limit](Session& session) {
      return id->empty() ? ListJobs(session, *limit) : ShowJob(session, *id);
    };
  });

  CLI::App* const watch =
      app.add_subcommand("watch", "Follow a job until it has ended; with --json an event a line");
  watch->add_option("id", *id, "Which one")->required()->type_name("ID");
  watch->callback(
      [id, &chosen] { chosen = [id](Session& session) { return FollowJob(session, *id); }; });

  CLI::App* const cancel = app.add_subcommand("cancel", "End a job that hasn't ended");
  cancel->add_option("id", *id, "Which one")->required()->type_name("ID");
  cancel->callback(
      [id, &chosen] { chosen = [id](Session& session) { return Cancel(session, *id); }; });

  CLI::App* const pause =
      app.add_subcommand("pause", "Save a job and let others go first, until it is resumed");
  pause->add_option("id", *id, "Which one")->required()->type_name("ID");
  pause->callback(
      [id, &chosen] { chosen = [id](Session& session) { return Pause(session, *id); }; });

  const auto allow_different_bits = std::make_shared<bool>(false);
  CLI::App* const resume =
      app.add_subcommand("resume", "Let a paused job go on from where it was saved");
  resume->add_option("id", *id, "Which one")->required()->type_name("ID");
  resume->add_flag("--allow-different-bits", *allow_different_bits,
                   "Also where the CPU or oneDNN is another than it was saved with");
  resume->callback([id, allow_different_bits, &chosen] {
    chosen = [id, allow_different_bits](Session& session) {
      return Resume(session, *id, *allow_different_bits);
    };
  });

  const auto priority = std::make_shared<int32_t>(0);
  CLI::App* const set_priority =
      app.add_subcommand("priority", "Change the priority of a queued or paused job");
  set_priority->add_option("id", *id, "Which one")->required()->type_name("ID");
  set_priority->add_option("priority", *priority, "-100 to 100; higher ones begin first")
      ->required()
      ->check(WholeNumber<int32_t>())
      ->type_name("N");
  set_priority->callback([id, priority, &chosen] {
    chosen = [id, priority](Session& session) { return SetPriority(session, *id, *priority); };
  });
}

}  // namespace convd
