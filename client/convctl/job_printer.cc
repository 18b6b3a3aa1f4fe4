#include "client/convctl/job_printer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/convctl/job_text.h"
#include "client/convctl/progress_bar.h"
#include "client/convctl/terminal_text.h"
#include "client/watched_job.h"

namespace convd {

JobPrinter::JobPrinter(const Terminal& terminal, std::function<int()> width,
                       std::function<void(std::string_view)> write)
    : terminal_(terminal), width_(std::move(width)), write_(std::move(write)) {}

void JobPrinter::OnEvent(const v1::JobEvent& event) {
  switch (event.event_case()) {
    case v1::JobEvent::kJob: {
      const v1::Job& job = event.job();
      epochs_ = job.request().epochs();
      // The server stopped, or it was paused and resumed before this watch looked. One that came
      // back late finds it running again already.
      if (state_ == v1::JOB_STATE_RUNNING &&
          (job.state() == v1::JOB_STATE_QUEUED ||
           (job.state() == v1::JOB_STATE_RUNNING && job.attempts() > attempts_))) {
        ShowLine(absl::StrCat("Job ", Printable(job.id()),
                              " was interrupted; it goes on from its last checkpoint"));
        state_line_.clear();
      }
      state_ = job.state();
      attempts_ = job.attempts();
      const std::string line = HasEnded(job.state()) ? "" : StateLine(job);
      if (line.empty() || line == state_line_) break;
      state_line_ = line;
      // Either may be long, and its reason too long for the terminal's last line.
      if (terminal_.interactive && job.state() != v1::JOB_STATE_PAUSED &&
          job.waiting_for().empty()) {
        ShowTransient(line);
      } else {
        ShowLine(line);
      }
      break;
    }
    case v1::JobEvent::kProgress:
      // One column stays free: a character in the last one makes some terminals wrap.
      if (terminal_.interactive) {
        ShowTransient(ProgressLine(event.progress(), width_() - 1, terminal_.utf8));
      }
      break;
    case v1::JobEvent::kEpoch:
      ShowLine(EpochLine(event.epoch(), epochs_));
      break;
    case v1::JobEvent::EVENT_NOT_SET:
      break;
  }
}

void JobPrinter::Clear() {
  if (transient_.empty()) return;
  write_("\r\x1b[K");
  transient_.clear();
}

void JobPrinter::ShowTransient(const std::string& line) {
  const std::string fitting(CutToWidth(line, width_() < 2 ? 1 : width_() - 1));
  if (fitting == transient_) return;
  transient_ = fitting;
  // Over the old line and then clear what is left of it: nothing is ever blank for a moment.
  write_(absl::StrCat("\r", fitting, "\x1b[K"));
}

void JobPrinter::ShowLine(const std::string& line) {
  if (transient_.empty()) {
    write_(absl::StrCat(line, "\n"));
  } else {
    transient_.clear();
    write_(absl::StrCat("\r", line, "\x1b[K\n"));
  }
}

}  // namespace convd
