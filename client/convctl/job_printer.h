#ifndef CONVD_CLIENT_CONVCTL_JOB_PRINTER_H_
#define CONVD_CLIENT_CONVCTL_JOB_PRINTER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "client/convctl/terminal.h"
#include "convd/v1/jobs.pb.h"

namespace convd {

// Shows a job's events as they come: on a terminal a bar that is drawn over itself, one write a
// time, with a line for each finished epoch above it; elsewhere those lines alone. One thread.
class JobPrinter {
 public:
  // `write` takes text for the terminal and sends it at once; `width` is asked at each drawing.
  JobPrinter(const Terminal& terminal, std::function<int()> width,
             std::function<void(std::string_view)> write);

  void OnEvent(const v1::JobEvent& event);
  // Takes the bar away; what is written next begins on an empty line.
  void Clear();

 private:
  void ShowTransient(const std::string& line);
  void ShowLine(const std::string& line);

  const Terminal terminal_;
  const std::function<int()> width_;
  const std::function<void(std::string_view)> write_;
  int64_t epochs_ = 0;
  v1::JobState state_ = v1::JOB_STATE_UNSPECIFIED;
  int32_t attempts_ = 0;
  std::string state_line_;  // what was last said of the job's state
  std::string transient_;   // what stands on the terminal's last line
};

}  // namespace convd

#endif  // CONVD_CLIENT_CONVCTL_JOB_PRINTER_H_
