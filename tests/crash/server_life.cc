#include "tests/crash/server_life.h"

#include <stdlib.h>

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/end_to_end/server_process.h"

namespace convd {
namespace {

// LeakSanitizer can't work in a process that is traced.
std::string WithoutLeaks() {
  const char* const options = getenv("ASAN_OPTIONS");
  return absl::StrCat("ASAN_OPTIONS=", options == nullptr ? "" : absl::StrCat(options, ":"),
                      "detect_leaks=0");
}

// The signal comes as the call is entered, and the kernel doesn't do the call. Not with
// --seccomp-bpf, which would be faster: strace 6.1 then injects nothing, and doesn't say so.
std::string Injection(const KillPoint& point) {
  return absl::StrCat("--inject=", point.call, ":signal=SIGKILL:when=", point.nth);
}

}  // namespace

std::unique_ptr<ServerLife> ServerLife::Start(const CrashFolders& folders, int concurrent_jobs,
                                              const std::optional<KillPoint>& point,
                                              bool count_only) {
  std::vector<std::string> command = ServerProcess::CommandLine(
      folders.state, {"--data-dir", folders.data, "--checkpoint-seconds", "1", "--concurrent-jobs",
                      absl::StrCat(concurrent_jobs)});
  if (point.has_value() || count_only) {
    // -D: the server is this process's child, strace its grandchild.
    std::vector<std::string> traced = {StracePath(), "-D", "-f", "-y", "-o", folders.trace, "-e"};
    if (count_only) {
      traced.push_back(absl::StrCat("trace=", absl::StrJoin(TracedCalls(), ",")));
    } else {
      traced.push_back(absl::StrCat("trace=", point->call));
      traced.push_back(Injection(*point));
    }
    command.insert(command.begin(), traced.begin(), traced.end());
  }
  std::unique_ptr<Subprocess> process = Subprocess::Start(command, {WithoutLeaks()});
  if (process == nullptr) return nullptr;
  return std::unique_ptr<ServerLife>(new ServerLife(folders, std::move(process)));
}

ServerLife::~ServerLife() {
  Kill();
  process_->Wait();
}

std::string ServerLife::AwaitAddress() {
  constexpr char kBefore[] = "listening on grpc ";
  const auto line = process_->WaitForLine([](const std::string&) { return true; });
  const std::string text = line.value_or("");
  if (text.rfind(kBefore, 0) != 0) return "";
  const size_t begin = sizeof(kBefore) - 1;
  return text.substr(begin, text.find(' ', begin) - begin);
}

bool ServerLife::AwaitEnd(absl::Duration patience) { return process_->Wait(patience).has_value(); }

bool ServerLife::KillAtNext(const KillPoint& point) {
  strace_ = Subprocess::Start({StracePath(), "-f", "-y", "-o", folders_.trace, "-e",
                               absl::StrCat("trace=", point.call), Injection(point), "-p",
                               absl::StrCat(process_->pid())});
  return strace_ != nullptr;
}

std::string ServerLife::OtherEnd() {
  const std::optional<int> code = process_->Wait();
  if (code == 128 + SIGKILL) return "";
  const std::string words = process_->err();
  return absl::StrCat("convd ended with code ", code.value_or(-1), ": ",
                      words.substr(words.size() - std::min<size_t>(words.size(), 2000)));
}

}  // namespace convd
