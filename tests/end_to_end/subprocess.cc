#include "tests/end_to_end/subprocess.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace convd {
namespace {

// What the child does between fork and exec may only be what a signal handler may do: other threads
// of the parent held locks.
[[noreturn]] void Become(char** arguments, char** environment, int out, int err) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, STDIN_FILENO);
  execve(arguments[0], arguments, environment);
  _exit(127);
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& s : strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::string NameOf(const std::string& assignment) {
  return assignment.substr(0, assignment.find('='));
}

}  // namespace

std::unique_ptr<Subprocess> Subprocess::Start(const std::vector<std::string>& arguments,
                                              const std::vector<std::string>& environment) {
  std::vector<std::string> argument_copies = arguments;
  std::vector<std::string> variables = environment;
  for (char** v = environ; *v != nullptr; ++v) {
    bool replaced = false;
    for (const std::string& own : environment) replaced |= NameOf(own) == NameOf(*v);
    if (!replaced) variables.push_back(*v);
  }
  int out[2];
  int err[2];
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) {
    ADD_FAILURE() << "can't make pipes";
    return nullptr;
  }
  std::vector<char*> argument_pointers = Pointers(argument_copies);
  std::vector<char*> variable_pointers = Pointers(variables);
  const pid_t pid = fork();
  if (pid == 0) Become(argument_pointers.data(), variable_pointers.data(), out[1], err[1]);
  close(out[1]);
  close(err[1]);
  if (pid < 0) {
    ADD_FAILURE() << "can't start " << arguments[0];
    return nullptr;
  }
  return std::unique_ptr<Subprocess>(new Subprocess(pid, out[0], err[0]));
}

Subprocess::Subprocess(pid_t pid, int out, int err)
    : pid_(pid),
      out_thread_([this, out] { Collect(out, false); }),
      err_thread_([this, err] { Collect(err, true); }),
      wait_thread_([this] {
        // Looks without reaping, so that the id stays this process's until exit_ is known.
        siginfo_t info = {};
        while (waitid(P_PID, pid_, &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
        }
        absl::MutexLock lock(&mu_);
        int status = 0;
        waitpid(pid_, &status, 0);
        exit_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      }) {}

Subprocess::~Subprocess() {
  Signal(SIGKILL);
  wait_thread_.join();
  out_thread_.join();
  err_thread_.join();
}

void Subprocess::Collect(int fd, bool errors) {
  char buffer[4096];
  ssize_t count = 0;
  while ((count = read(fd, buffer, sizeof(buffer))) > 0 || (count < 0 && errno == EINTR)) {
    absl::MutexLock lock(&mu_);
    if (count > 0) (errors ? err_ : out_).text.append(buffer, count);
  }
  close(fd);
  absl::MutexLock lock(&mu_);
  (errors ? err_ : out_).ended = true;
}

void Subprocess::Signal(int signal) {
  absl::MutexLock lock(&mu_);
  if (!exit_.has_value()) kill(pid_, signal);
}

std::optional<int> Subprocess::Wait(absl::Duration patience) {
  absl::MutexLock lock(&mu_);
  const auto ended = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return exit_.has_value() && out_.ended && err_.ended;
  };
  mu_.AwaitWithTimeout(absl::Condition(&ended), patience);
  return exit_;
}

std::optional<std::string> Subprocess::WaitForLine(
    const std::function<bool(const std::string&)>& wanted, absl::Duration patience) {
  absl::MutexLock lock(&mu_);
  const absl::Time end = absl::Now() + patience;
  size_t begin = 0;
  for (;;) {
    const auto more = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return out_.text.find('\n', begin) != std::string::npos || out_.ended;
    };
    if (!mu_.AwaitWithDeadline(absl::Condition(&more), end)) return std::nullopt;
    const size_t newline = out_.text.find('\n', begin);
    if (newline == std::string::npos) return std::nullopt;
    std::string line = out_.text.substr(begin, newline - begin);
    if (wanted(line)) return line;
    begin = newline + 1;
  }
}

bool Subprocess::WaitForError(const std::string& text, absl::Duration patience) {
  absl::MutexLock lock(&mu_);
  const auto there = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return err_.text.find(text) != std::string::npos || err_.ended;
  };
  mu_.AwaitWithTimeout(absl::Condition(&there), patience);
  return err_.text.find(text) != std::string::npos;
}

std::string Subprocess::out() const {
  absl::MutexLock lock(&mu_);
  return out_.text;
}

std::string Subprocess::err() const {
  absl::MutexLock lock(&mu_);
  return err_.text;
}

Finished RunProgram(const std::vector<std::string>& arguments,
                    const std::vector<std::string>& environment) {
  const std::unique_ptr<Subprocess> process = Subprocess::Start(arguments, environment);
  Finished finished;
  if (process == nullptr) return finished;
  finished.code = process->Wait().value_or(-1);
  finished.out = process->out();
  finished.err = process->err();
  return finished;
}

}  // namespace convd
