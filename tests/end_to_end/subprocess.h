#ifndef CONVD_TESTS_END_TO_END_SUBPROCESS_H_
#define CONVD_TESTS_END_TO_END_SUBPROCESS_H_

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace convd {

// How long a test waits for what should happen at once: generous, since a sanitized build on a busy
// machine is slow, and nobody waits for it where all is well.
inline constexpr absl::Duration kPatience = absl::Seconds(120);

// A program that runs beside the test, with its output at hand as it comes. Killed in the
// destructor, and by the system where the test's own process dies first.
class Subprocess {
 public:
  // `environment`: NAME=VALUE lines on top of the test's own. Fails the test where it can't start.
  static std::unique_ptr<Subprocess> Start(const std::vector<std::string>& arguments,
                                           const std::vector<std::string>& environment = {});
  ~Subprocess();

  pid_t pid() const { return pid_; }
  void Signal(int signal);

  // The exit code, or 128 + the signal that ended it; nothing where it still runs after `patience`.
  std::optional<int> Wait(absl::Duration patience = kPatience);

  // The first line on stdout that `wanted` takes; nothing when output ends, or patience does.
  std::optional<std::string> WaitForLine(const std::function<bool(const std::string&)>& wanted,
                                         absl::Duration patience = kPatience);

  // True as soon as stderr has `text` in it; false when output ends, or patience does.
  bool WaitForError(const std::string& text, absl::Duration patience = kPatience);

  // All that it has written so far.
  std::string out() const;
  std::string err() const;

 private:
  struct Output {
    std::string text;
    bool ended = false;
  };

  Subprocess(pid_t pid, int out, int err);
  void Collect(int fd, bool errors) ABSL_LOCKS_EXCLUDED(mu_);

  const pid_t pid_;
  mutable absl::Mutex mu_;
  Output out_ ABSL_GUARDED_BY(mu_);
  Output err_ ABSL_GUARDED_BY(mu_);
  std::optional<int> exit_ ABSL_GUARDED_BY(mu_);
  std::thread out_thread_;
  std::thread err_thread_;
  std::thread wait_thread_;
};

// Runs it to its end. A test that waits too long gets exit code -1.
struct Finished {
  int code = -1;
  std::string out;
  std::string err;
};
Finished RunProgram(const std::vector<std::string>& arguments,
                    const std::vector<std::string>& environment = {});

}  // namespace convd

#endif  // CONVD_TESTS_END_TO_END_SUBPROCESS_H_
