// convd: the server. Exit codes: 0 stopped as asked, 1 something failed, 2 a flag is wrong, 128 + n
// stopped at once by a second signal n.

#include <spdlog/sinks/dup_filter_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "core/dnn/engine_info.h"
#include "server/auth/token.h"
#include "server/auth/tokens_file.h"
#include "server/config.h"
#include "server/json_log_lines.h"
#include "server/server.h"
#include "server/stop_signals.h"

namespace convd {
namespace {

enum ExitCode { kStopped = 0, kFailed = 1, kUsage = 2 };

int Fail(const absl::Status& status) {
  const std::string message(status.message().data(), status.message().size());
  std::fprintf(stderr, "convd: %s\n", message.c_str());
  return absl::IsInvalidArgument(status) ? kUsage : kFailed;
}

// The secret alone on standard output, so that it can go to a file of its own.
int MakeToken(const NewTokenRequest& request) {
  const absl::StatusOr<std::string> token = NewToken();
  if (!token.ok()) return Fail(token.status());
  std::printf("%s\n", token->c_str());
  std::fprintf(stderr,
               "# the token itself was shown once; this line is for the --tokens file:\n%s\n",
               TokensFileLine(request.name, request.scopes, HashToken(*token)).c_str());
  return std::fflush(stdout) == 0 ? kStopped : kFailed;
}

void LogToStderr(const std::string& level, const std::string& format) {
  // What is tried again each second need not say each time that it failed.
  auto sink = std::make_shared<spdlog::sinks::dup_filter_sink_mt>(std::chrono::minutes(10));
  sink->add_sink(std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  auto logger = std::make_shared<spdlog::logger>("convd", std::move(sink));
  if (format == "json") {
    logger->set_formatter(NewJsonLogLines());
  } else {
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %^%l%$ %v");
  }
  logger->set_level(spdlog::level::from_str(level == "error" ? "err" : level));
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
}

int Main(int argc, char** argv) {
  // First of all, while nothing has needed more than the baseline yet.
  if (absl::Status cpu = CheckCpu(); !cpu.ok()) return Fail(cpu);
  absl::StatusOr<CommandLine> command =
      ParseCommandLine(std::vector<std::string>(argv + 1, argv + argc), [](std::string_view name) {
        const char* value = std::getenv(std::string(name).c_str());
        return std::string(value == nullptr ? "" : value);
      });
  if (!command.ok()) return Fail(command.status());
  if (!command->text.empty()) {
    std::fputs(command->text.c_str(), stdout);
    return std::fflush(stdout) == 0 ? kStopped : kFailed;
  }
  if (command->new_token.has_value()) return MakeToken(*command->new_token);
  const Config& config = command->config;

  // A reader that went away is an error of the write, not the end of the process.
  std::signal(SIGPIPE, SIG_IGN);
  BlockStopSignals();
  LogToStderr(config.log_level, config.log_format);
  const absl::Notification& stop = WatchStopSignals(config.drain);
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(config);
  if (!server.ok()) return Fail(server.status());
  std::string listening = "listening on grpc " + (*server)->grpc_address();
  if (!(*server)->http_address().empty()) listening += " http " + (*server)->http_address();
  std::printf("%s\n", listening.c_str());
  std::fflush(stdout);
  spdlog::info("{}", listening);

  stop.WaitForNotification();
  // A little less than the watchdog allows, so that the end is an orderly one.
  (*server)->Stop(absl::Now() + 0.8 * config.drain);
  server->reset();
  spdlog::info("stopped");
  return kStopped;
}

}  // namespace
}  // namespace convd

int main(int argc, char** argv) {
#ifdef NDEBUG
  // Debian's Abseil looks for deadlocks at every lock, since it is built without NDEBUG.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
#endif
  try {
    return convd::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "convd: %s\n", error.what());
    return convd::kFailed;
  }
}
