#include "tests/crash/call_trace.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/end_to_end/subprocess.h"

namespace convd {
namespace {

// "1234  fsync(5</path>) = 0" is thread 1234's call of fsync. Lines that only end a call, or tell
// of a signal, have none.
struct Line {
  std::string thread, call;
};

Line Parse(const std::string& text) {
  std::istringstream words(text);
  Line line;
  words >> line.thread >> line.call;
  const size_t bracket = line.call.find('(');
  if (bracket == std::string::npos) return {};
  line.call.resize(bracket);
  return line;
}

// What kind of thing the call was about.
std::string About(const std::string& text) {
  // Its order matters: all paths lie in the state folder, some names hold others.
  constexpr struct {
    const char* part;
    const char* name;
  } kKinds[] = {{"convd.db-wal", "the jobs' write-ahead log"},
                {"convd.db-shm", "the write-ahead log's index"},
                {"convd.db", "the jobs' database"},
                {"checkpoint", "a checkpoint"},
                {"/tmp/model-", "a version being made"},
                {"/state/models", "the versions' folders"},
                {"/state/datasets", "a dataset"},
                {"/state/tmp", "a temporary file"},
                {"/state/lock", "the lock"},
                {"/state/addresses", "the addresses"},
                {"pipe:", "the log"},
                {"anon_inode:", "a wake-up"},
                {"TCP:", "a connection"},
                {"socket:", "a connection"},
                {"/state", "the state folder"}};
  for (const auto& kind : kKinds) {
    if (absl::StrContains(text, kind.part)) return absl::StrCat(", ", kind.name);
  }
  return "";
}

}  // namespace

const std::vector<std::string>& TracedCalls() {
  static const auto* const calls = new std::vector<std::string>{
      "write",    "pwrite64",  "writev", "fsync",    "fdatasync", "ftruncate", "rename",
      "renameat", "renameat2", "unlink", "unlinkat", "rmdir",     "sendmsg",   "fallocate"};
  return *calls;
}

const std::string& StracePath() {
  static const auto* const path = new std::string([]() -> std::string {
    const char* const strace = "/usr/bin/strace";
    if (access(strace, X_OK) != 0) return "";
    // Containers may forbid it.
    const Finished tried = RunProgram({strace, "-f", "-o", "/dev/null", "/bin/true"});
    return tried.code == 0 ? strace : "";
  }());
  return *path;
}

std::map<std::string, int64_t> CountCalls(const std::string& path) {
  std::map<std::string, std::map<std::string, int64_t>> by_thread;
  std::ifstream file(path);
  for (std::string text; std::getline(file, text);) {
    const Line line = Parse(text);
    if (!line.call.empty()) ++by_thread[line.call][line.thread];
  }
  std::map<std::string, int64_t> most;
  for (const auto& [call, threads] : by_thread) {
    for (const auto& [thread, count] : threads) most[call] = std::max(most[call], count);
  }
  return most;
}

std::string DescribeEnd(const std::string& path, const std::string& call) {
  std::ifstream file(path);
  std::string last;
  for (std::string text; std::getline(file, text);) {
    // A call that never returned.
    const bool open = absl::EndsWith(text, "= ?") || absl::StrContains(text, "<unfinished");
    if (open && Parse(text).call == call) last = text;
  }
  return absl::StrCat(call, About(last));
}

}  // namespace convd
