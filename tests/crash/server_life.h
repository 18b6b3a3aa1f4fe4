#ifndef CONVD_TESTS_CRASH_SERVER_LIFE_H_
#define CONVD_TESTS_CRASH_SERVER_LIFE_H_

#include <signal.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "tests/crash/call_trace.h"
#include "tests/end_to_end/subprocess.h"

namespace convd {

// The folders that one server's lives have in common.
struct CrashFolders {
  std::string state, data;
  std::string trace;  // strace's output, a file
};

// The real convd from its start to its end, which may come at any time. Any thread may call.
class ServerLife {
 public:
  // Killed at `point`, if given; with `count_only` strace writes down its calls and kills nothing.
  static std::unique_ptr<ServerLife> Start(const CrashFolders& folders, int concurrent_jobs,
                                           const std::optional<KillPoint>& point,
                                           bool count_only = false);
  ~ServerLife();

  // Waits until it listens; "" where it ended before.
  std::string AwaitAddress();

  bool AwaitEnd(absl::Duration patience);
  bool Alive() { return !AwaitEnd(absl::ZeroDuration()); }
  void Kill() { process_->Signal(SIGKILL); }
  // Lets strace kill it at its nth call of that kind from now on; false where strace can't.
  bool KillAtNext(const KillPoint& point);

  // Once it has ended: "" where SIGKILL was what ended it, else its code and last words.
  std::string OtherEnd();

 private:
  ServerLife(const CrashFolders& folders, std::unique_ptr<Subprocess> process)
      : folders_(folders), process_(std::move(process)) {}

  const CrashFolders folders_;
  const std::unique_ptr<Subprocess> process_;
  std::unique_ptr<Subprocess> strace_;
};

}  // namespace convd

#endif  // CONVD_TESTS_CRASH_SERVER_LIFE_H_
