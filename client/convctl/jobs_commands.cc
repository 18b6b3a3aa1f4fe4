#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/convctl/commands.h"
#include "client/convctl/follow_job.h"
#include "client/convctl/job_text.h"
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

  CLI::App* const cancel = app.add_subcommand("cancel", "Cancel a queued or running job");
  cancel->add_option("id", *id, "Which one")->required()->type_name("ID");
  cancel->callback(
      [id, &chosen] { chosen = [id](Session& session) { return Cancel(session, *id); }; });
}

}  // namespace convd
