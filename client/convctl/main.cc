#include <google/protobuf/stubs/common.h>
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "client/address.h"
#include "client/convctl/commands.h"
#include "client/convctl/exit_code.h"
#include "client/convctl/session.h"

namespace convd {
namespace {

constexpr char kFooter[] =
    "Exit codes:\n"
    "  0    done\n"
    "  1    the server said no\n"
    "  2    wrong arguments, or a local file that isn't there\n"
    "  3    no server there, or it was lost\n"
    "  4    the job that was followed failed or was cancelled\n"
    "  5    no answer within --timeout\n"
    "  130  Ctrl-C (a job that was followed goes on)\n"
    "\n"
    "Environment:\n"
    "  CONVD_SERVER      the server, where --server isn't given\n"
    "  CONVD_TOKEN       the token, where there is no --token-file or CONVD_TOKEN_FILE\n"
    "  CONVD_TOKEN_FILE, CONVD_TLS_CA, CONVD_TLS_CERT, CONVD_TLS_KEY\n"
    "                    as the flags of these names\n"
    "  NO_COLOR          anything: no colours";

int Report(const absl::Status& status, bool json) {
  const absl::Status hinted = WithUsualHint(status);
  std::fflush(stdout);
  std::fputs((json ? ErrorJson(hinted) : ErrorText(hinted)).c_str(), stderr);
  return ExitCodeFor(hinted);
}

// What can't be parsed may have been meant to be answered in JSON.
bool AsksForJson(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--json") return true;
  }
  return false;
}

std::string VersionText() {
  return absl::StrCat("convctl ", CONVD_VERSION, " (gRPC ", grpc::Version(), ", Protocol Buffers ",
                      google::protobuf::internal::VersionString(GOOGLE_PROTOBUF_VERSION), ")");
}

int Run(int argc, char** argv) {
  GlobalFlags flags;
  Command chosen;
  CLI::App app("Trains, watches, evaluates and uses image classifiers on a convd server",
               "convctl");
  app.footer(kFooter);
  app.set_version_flag("--version", VersionText());
  app.require_subcommand(1);
  app.fallthrough();  // global flags may stand behind the command; commands inherit it
  app.add_option("--server", flags.server, "The server's gRPC address")
      ->type_name("HOST:PORT")
      ->envname("CONVD_SERVER")
      ->capture_default_str();
  app.add_option("--token-file", flags.token_file, "File with the token that is sent along")
      ->type_name("FILE")
      ->envname("CONVD_TOKEN_FILE");
  app.add_flag(
      "--insecure-token", flags.insecure_token,
      "Send the token unencrypted to another machine, too: whoever is on the way can use it");
  app.add_flag("--tls", flags.tls, "Encrypt; https:// before the server says the same");
  app.add_option("--tls-ca", flags.tls_ca,
                 "PEM file of what vouches for the server [what this machine trusts]")
      ->type_name("FILE")
      ->envname("CONVD_TLS_CA");
  app.add_option("--tls-cert", flags.tls_cert, "PEM file of a certificate to show the server")
      ->type_name("FILE")
      ->envname("CONVD_TLS_CERT");
  app.add_option("--tls-key", flags.tls_key, "PEM file of its private key")
      ->type_name("FILE")
      ->envname("CONVD_TLS_KEY");
  app.add_flag("--json", flags.json,
               "Answer (and fail) in JSON: one document, or one event a line");
  app.add_option("--timeout", flags.timeout_seconds,
                 "Longest time for each call; 0 leaves it to convctl")
      ->type_name("SECONDS")
      ->check([](const std::string& text) {
        double seconds = 0;
        const bool right = absl::SimpleAtod(text, &seconds) && seconds >= 0 && seconds <= 1e9;
        return right ? std::string() : "write seconds from 0 to 1e9";
      });
  AddTrainCommand(app, chosen);
  AddJobsCommands(app, chosen);
  AddEvaluateCommand(app, chosen);
  AddPredictCommand(app, chosen);
  AddBenchCommand(app, chosen);
  AddModelsCommands(app, chosen);
  AddExplainCommand(app, chosen);
  AddDatasetsCommands(app, chosen);
  AddHealthCommand(app, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& request) {  // --help, --version
    return app.exit(request);
  } catch (const CLI::ParseError& error) {
    return Report(
        WithHint(UsageError(error.what()), "`convctl --help`, or `convctl COMMAND --help`"),
        AsksForJson(argc, argv));
  }
  if (const absl::Status address = CheckServerAddress(flags.server); !address.ok()) {
    return Report(UsageError(std::string_view(address.message().data(), address.message().size())),
                  flags.json);
  }
  // No flag has it: what programs were started with is for everyone on the machine to see.
  if (const char* token = std::getenv("CONVD_TOKEN"); token != nullptr) flags.token = token;
  Session session(flags);
  absl::Status status = chosen(session);
  status.Update(session.Close());
  return status.ok() ? kExitOk : Report(status, flags.json);
}

}  // namespace
}  // namespace convd

int main(int argc, char** argv) {
#ifdef NDEBUG
  // Debian's Abseil looks for deadlocks at every lock, since it is built without NDEBUG.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
#endif
  std::setlocale(LC_CTYPE, "");
  try {
    return convd::Run(argc, argv);
  } catch (const std::exception& error) {  // CLI11 while flags are declared, or no memory
    std::fprintf(stderr, "error: %s\n", error.what());
    return convd::kExitRefused;
  }
}
