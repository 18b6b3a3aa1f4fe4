#include "server/config.h"

#include <arpa/inet.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/status/status_macros.h"
#include "server/auth/tokens_file.h"
#include "server/version.h"

namespace convd {
namespace {

constexpr size_t kMaxShown = 100;
constexpr size_t kMaxHost = 253;  // RFC 1035
const char* const kInstructionSets[] = {"avx2", "avx512"};
const char* const kLogFormats[] = {"text", "json"};
const char* const kLogLevels[] = {"trace", "debug", "info", "warn", "error", "off"};

std::string Quoted(std::string_view text) {
  return absl::StrCat(
      "\"", absl::CEscape(absl::string_view(text.data(), std::min(text.size(), kMaxShown))),
      text.size() > kMaxShown ? "...\"" : "\"");
}

absl::Status FlagError(absl::string_view flag, std::string_view got, absl::string_view want) {
  return absl::InvalidArgumentError(absl::StrCat(flag, ": got ", Quoted(got), "; want ", want));
}

// Flags arrive as text, so that every error is this file's own sentence.
struct Flags {
  std::string grpc_address, http_address, state, cpus, isa, concurrent_jobs, drain_seconds,
      max_message_mb;
  std::string log_level, nice, max_waiting_jobs, checkpoint_seconds, max_state_bytes;
  std::string max_rate, max_concurrent_calls, log_format;
  std::string max_batch, batch_delay_ms, max_queue_ms, train_share;
};

absl::Status ReadInteger(absl::string_view flag, const std::string& text, int low, int high,
                         absl::string_view unit, int& value) {
  if (text.empty()) return absl::OkStatus();
  int64_t number = 0;
  // SimpleAtoi takes white space and signs around the digits; a flag doesn't.
  const bool plain = text.size() <= 18 && absl::ascii_isdigit(text.back()) &&
                     (absl::ascii_isdigit(text[0]) || text[0] == '-');
  if (!plain || !absl::SimpleAtoi(text, &number) || number < low || number > high) {
    return FlagError(flag, text, absl::StrCat("a whole number", unit, ", ", low, " to ", high));
  }
  value = static_cast<int>(number);
  return absl::OkStatus();
}

absl::Status ReadRate(absl::string_view flag, const std::string& text, double& value) {
  if (text.empty()) return absl::OkStatus();
  double number = 0;
  const bool plain = text.size() <= 18 && text.find_first_not_of("0123456789.") == text.npos;
  if (!plain || !absl::SimpleAtod(text, &number) || number > 1e6) {
    return FlagError(flag, text, "calls a second, up to 1000000; 0 for no limit");
  }
  value = number;
  return absl::OkStatus();
}

// 0, or at least 16 MiB; with K, M, G or T for powers of 1,024.
absl::Status ReadBytes(absl::string_view flag, const std::string& text, int64_t& value) {
  if (text.empty()) return absl::OkStatus();
  constexpr absl::string_view kUnits = "KMGT";
  constexpr int64_t kLeast = int64_t{16} << 20;  // twice the start's reserve
  constexpr int64_t kMost = int64_t{1} << 60;
  absl::string_view digits = text;
  int shift = 0;
  if (const size_t unit = kUnits.find(text.back()); unit != absl::string_view::npos) {
    digits.remove_suffix(1);
    shift = 10 * (static_cast<int>(unit) + 1);
  }
  int64_t number = 0;
  const bool plain = !digits.empty() && digits.size() <= 18 &&
                     std::all_of(digits.begin(), digits.end(), absl::ascii_isdigit);
  if (!plain || !absl::SimpleAtoi(digits, &number) || number > kMost >> shift ||
      (number > 0 && (number << shift) < kLeast)) {
    return FlagError(flag, text,
                     "a number of bytes such as 20G (with K, M, G or T for powers of 1,024), at "
                     "least 16M; or 0 for no limit");
  }
  value = number << shift;
  return absl::OkStatus();
}

template <size_t n>
absl::Status ReadChoice(absl::string_view flag, const std::string& text,
                        const char* const (&choices)[n], std::string& value) {
  if (text.empty()) return absl::OkStatus();
  if (std::find(std::begin(choices), std::end(choices), text) == std::end(choices)) {
    return FlagError(flag, text, absl::StrJoin(choices, ", "));
  }
  value = text;
  return absl::OkStatus();
}

absl::Status CheckPath(absl::string_view flag, std::string_view path) {
  if (path.empty()) return FlagError(flag, path, "a folder");
  // The kernel's limit for a path, less what lies in the folder.
  if (path.size() > 3072) return FlagError(flag, path, "a path of at most 3072 bytes");
  return absl::OkStatus();
}

absl::StatusOr<std::string> DefaultStateDir(
    const std::function<std::string(std::string_view)>& environment) {
  // The XDG base directory specification has relative paths ignored.
  const std::string xdg = environment("XDG_STATE_HOME");
  if (absl::StartsWith(xdg, "/")) return xdg + "/convd";
  const std::string home = environment("HOME");
  if (absl::StartsWith(home, "/")) return home + "/.local/state/convd";
  return absl::InvalidArgumentError(
      "--state: got none, and neither XDG_STATE_HOME nor HOME says where a home is; want a folder");
}

absl::Status CheckTls(const Config& config) {
  const auto missing = [](absl::string_view flag, absl::string_view other) {
    return absl::InvalidArgumentError(
        absl::StrCat(flag, ": got none, but ", other, "; want both, or neither"));
  };
  if (!config.tls_cert.empty() && config.tls_key.empty()) return missing("--tls-key", "--tls-cert");
  if (!config.tls_key.empty() && config.tls_cert.empty()) return missing("--tls-cert", "--tls-key");
  if (!config.tls_client_ca.empty() && config.tls_cert.empty()) {
    return absl::InvalidArgumentError(
        "--tls-client-ca: asks clients for certificates, which only go with encryption; want "
        "--tls-cert and --tls-key, too");
  }
  return absl::OkStatus();
}

// Of an address that other machines reach.
absl::Status CheckProtected(absl::string_view flag, const std::string& address,
                            const Config& config) {
  const bool encrypted = !config.tls_cert.empty();
  const bool asks_who = !config.tokens.empty() || !config.tls_client_ca.empty();
  if (config.insecure || (encrypted && asks_who)) return absl::OkStatus();
  const char* why =
      "neither encryption nor tokens protect it; listen on 127.0.0.1, give "
      "--tls-cert, --tls-key and --tokens,";
  if (asks_who) {
    why =
        "tokens would travel there for everyone on the way to read and use; give --tls-cert and "
        "--tls-key,";
  } else if (encrypted) {
    why = "everyone who reaches it may do everything; give --tokens or --tls-client-ca,";
  }
  return absl::InvalidArgumentError(absl::StrCat(flag, ": ", address,
                                                 " can be reached from other machines, and ", why,
                                                 " or add --insecure if the network is trusted"));
}

absl::Status ReadAddress(absl::string_view flag, const std::string& text, std::string& value,
                         bool& beyond_this_machine) {
  if (!text.empty()) value = text;
  CONVD_ASSIGN_OR_RETURN(const ListenAddress address,
                         ParseListenAddress({flag.data(), flag.size()}, value));
  value = ToString(address);
  beyond_this_machine = !IsLoopback(address.host);
  return absl::OkStatus();
}

absl::Status Check(const Flags& flags, Config& config) {
  bool beyond = false;
  CONVD_RETURN_IF_ERROR(
      ReadAddress("--grpc-address", flags.grpc_address, config.grpc_address, beyond));
  CONVD_RETURN_IF_ERROR(CheckTls(config));
  if (beyond) CONVD_RETURN_IF_ERROR(CheckProtected("--grpc-address", config.grpc_address, config));
  if (flags.http_address == "off") {
    config.http_address.clear();
  } else {
    CONVD_RETURN_IF_ERROR(
        ReadAddress("--http-address", flags.http_address, config.http_address, beyond));
    if (beyond)
      CONVD_RETURN_IF_ERROR(CheckProtected("--http-address", config.http_address, config));
  }
  CONVD_RETURN_IF_ERROR(CheckPath("--state", config.state_dir));
  for (const std::string& dir : config.data_dirs) {
    CONVD_RETURN_IF_ERROR(CheckPath("--data-dir", dir));
  }
  CONVD_RETURN_IF_ERROR(ReadInteger("--cpus", flags.cpus, 0, 1024,
                                    " of workers (0: what this machine or container "
                                    "allows)",
                                    config.cpus));
  CONVD_RETURN_IF_ERROR(ReadChoice("--isa", flags.isa, kInstructionSets, config.isa));
  CONVD_RETURN_IF_ERROR(
      ReadInteger("--concurrent-jobs", flags.concurrent_jobs, 1, 64, "", config.concurrent_jobs));
  CONVD_RETURN_IF_ERROR(ReadInteger("--max-waiting-jobs", flags.max_waiting_jobs, 1, 1'000'000, "",
                                    config.max_waiting_jobs));
  CONVD_RETURN_IF_ERROR(
      ReadBytes("--max-state-bytes", flags.max_state_bytes, config.max_state_bytes));
  int checkpoint = static_cast<int>(absl::ToInt64Seconds(config.checkpoint_interval));
  CONVD_RETURN_IF_ERROR(ReadInteger("--checkpoint-seconds", flags.checkpoint_seconds, 1, 86'400,
                                    " of seconds", checkpoint));
  config.checkpoint_interval = absl::Seconds(checkpoint);
  int drain = static_cast<int>(absl::ToInt64Seconds(config.drain));
  CONVD_RETURN_IF_ERROR(
      ReadInteger("--drain-seconds", flags.drain_seconds, 1, 3600, " of seconds", drain));
  config.drain = absl::Seconds(drain);
  // gRPC counts a message's bytes in an int.
  CONVD_RETURN_IF_ERROR(ReadInteger("--max-message-mb", flags.max_message_mb, 1, 2047, " of MiB",
                                    config.max_message_mb));
  CONVD_RETURN_IF_ERROR(ReadRate("--max-rate", flags.max_rate, config.max_rate));
  CONVD_RETURN_IF_ERROR(ReadInteger("--max-concurrent-calls", flags.max_concurrent_calls, 0,
                                    1'000'000, " of calls (0: no limit)",
                                    config.max_concurrent_calls));
  CONVD_RETURN_IF_ERROR(
      ReadChoice("--log-format", flags.log_format, kLogFormats, config.log_format));
  CONVD_RETURN_IF_ERROR(
      ReadInteger("--max-batch", flags.max_batch, 0, 65'536, " of images", config.max_batch));
  int delay = 0;
  CONVD_RETURN_IF_ERROR(
      ReadInteger("--batch-delay-ms", flags.batch_delay_ms, 0, 1000, " of milliseconds", delay));
  config.batch_delay = absl::Milliseconds(delay);
  int wait = static_cast<int>(absl::ToInt64Milliseconds(config.max_queue_wait));
  CONVD_RETURN_IF_ERROR(ReadInteger("--max-queue-ms", flags.max_queue_ms, 0, 3'600'000,
                                    " of milliseconds (0: no limit)", wait));
  config.max_queue_wait = absl::Milliseconds(wait);
  CONVD_RETURN_IF_ERROR(
      ReadInteger("--train-share", flags.train_share, 0, 90, " of percent", config.train_share));
  CONVD_RETURN_IF_ERROR(ReadChoice("--log-level", flags.log_level, kLogLevels, config.log_level));
  return ReadInteger("--nice", flags.nice, 0, 19, "", config.nice);
}

// CLI11's exceptions in this project's words.
std::string Sentence(const CLI::ParseError& error) {
  std::string text = error.what();
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (!text.empty() && (text.back() == ' ' || text.back() == '.')) text.pop_back();
  return absl::StrCat(absl::CEscape(text.substr(0, 300)), "; convd --help lists the flags");
}

}  // namespace

int64_t MostWaitingBytes(const Config& config) {
  return std::max(int64_t{1} << 30, 12 * (int64_t{config.max_message_mb} << 20));
}

absl::StatusOr<CommandLine> ParseCommandLine(
    const std::vector<std::string>& arguments,
    const std::function<std::string(std::string_view)>& environment) {
  CLI::App app("convd trains small image classifiers on this machine's CPU, and serves them.",
               "convd");
  CommandLine command;
  Config& config = command.config;
  Flags flags;
  app.set_version_flag("--version", std::string("convd ") + kVersion, "Print the version");
  app.add_option("--grpc-address", flags.grpc_address,
                 "HOST:PORT to listen on; port 0 takes a free one [127.0.0.1:8081]");
  app.add_option("--http-address", flags.http_address,
                 "The same for HTTP: health, metrics, REST; off: none [127.0.0.1:8080]");
  app.add_flag("--insecure", config.insecure,
               "Allow an address that other machines reach, without encryption or tokens");
  app.add_option("--tls-cert", config.tls_cert,
                 "PEM file of the server's certificate and those that vouch for it: encrypts");
  app.add_option("--tls-key", config.tls_key, "PEM file of its private key");
  app.add_option("--tls-client-ca", config.tls_client_ca,
                 "PEM file of what vouches for clients' certificates: they need one then");
  app.add_option("--tokens", config.tokens,
                 "File of who may call what; `convd token` makes its lines [everyone, everything]");
  app.add_option("--max-rate", flags.max_rate, "Calls a second of one caller; 0: no limit [0]");
  app.add_option("--max-concurrent-calls", flags.max_concurrent_calls,
                 "Calls of one caller that run at a time; 0: no limit [0]");
  app.add_option("--audit-log", config.audit_log,
                 "File to which a line is added for each change that somebody made [the log]");
  CLI::Option* const state = app.add_option(
      "--state", flags.state,
      "Folder for models, datasets and jobs, one server each [$XDG_STATE_HOME/convd, or "
      "~/.local/state/convd]");
  app.add_option("--data-dir", config.data_dirs,
                 "Folder that datasets may be registered from; may be given several times")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->expected(1);
  app.add_option("--cpus", flags.cpus,
                 "Workers for training and predicting together; 0: what this machine or container "
                 "allows [0]");
  app.add_option("--isa", flags.isa, "Highest instruction set to use: avx2 or avx512 [the CPU's]");
  app.add_option("--concurrent-jobs", flags.concurrent_jobs, "Jobs that train at a time [1]");
  app.add_option("--max-waiting-jobs", flags.max_waiting_jobs,
                 "Jobs that may be queued or paused [10000]");
  app.add_option("--max-state-bytes", flags.max_state_bytes,
                 "Bytes of the state folder from which on jobs and datasets are refused, such as "
                 "20G; 0: no limit but the disk's [0]");
  app.add_option("--checkpoint-seconds", flags.checkpoint_seconds,
                 "Longest time that a job trains without being saved [30]");
  app.add_option("--drain-seconds", flags.drain_seconds,
                 "Longest time from SIGTERM or SIGINT to the end [10]");
  app.add_option("--max-message-mb", flags.max_message_mb,
                 "Largest message either way, in MiB [64]");
  app.add_option("--max-batch", flags.max_batch,
                 "Images of predictions that are computed together at most; 0, and beyond it: as "
                 "many as suit the "
                 "model [0]");
  app.add_option("--batch-delay-ms", flags.batch_delay_ms,
                 "Longest time that a prediction waits for others to share its batch [0]");
  app.add_option("--max-queue-ms", flags.max_queue_ms,
                 "Longest time that a prediction should wait for a worker: what would wait longer "
                 "is refused; 0: no limit [5000]");
  app.add_option(
      "--train-share", flags.train_share,
      "Percent of the workers' time that training keeps while predictions and evaluations "
      "would take all of it [10]");
  app.add_option("--log-level", flags.log_level, "trace, debug, info, warn, error or off [info]");
  app.add_option("--log-format", flags.log_format, "text or json, a line each [text]");
  app.add_option("--nice", flags.nice, "Niceness of the workers, 0 to 19 [5]");

  NewTokenRequest new_token;
  std::string scopes;
  CLI::App* const token = app.add_subcommand(
      "token", "Make a token: itself to standard output, its line for --tokens to standard error");
  token->add_option("NAME", new_token.name, "Whose it is")->required();
  token->add_option("--scopes", scopes, "Some of read,predict,train,admin")->required();

  // CLI11 reports by exceptions; none leaves this function.
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    command.text = token->parsed() ? token->help() : app.help();
    return command;
  } catch (const CLI::CallForVersion&) {
    command.text = absl::StrCat("convd ", kVersion, "\n");
    return command;
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(Sentence(error));
  }
  if (token->parsed()) {
    CONVD_RETURN_IF_ERROR(CheckPrincipalName(new_token.name));
    CONVD_ASSIGN_OR_RETURN(new_token.scopes, ParseScopes(scopes));
    command.new_token = new_token;
    return command;
  }
  config.state_dir = flags.state;
  if (state->count() == 0) {
    CONVD_ASSIGN_OR_RETURN(config.state_dir, DefaultStateDir(environment));
  }
  // An empty address is none, as scripts write it.
  if (const CLI::Option* http = app.get_option("--http-address");
      http->count() > 0 && flags.http_address.empty()) {
    flags.http_address = "off";
  }
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_name() == "--http-address") continue;
    if (option->count() > 0 && option->get_expected_max() > 0 && option->results()[0].empty()) {
      return FlagError(option->get_name(), "", "a value");
    }
  }
  CONVD_RETURN_IF_ERROR(Check(flags, config));
  return command;
}

absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view flag, std::string_view text) {
  const auto wrong = [flag, text] {
    return FlagError({flag.data(), flag.size()}, text,
                     "HOST:PORT or [IPV6]:PORT with a port from 0 (a free one) to 65535");
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return wrong();
  ListenAddress address;
  const std::string_view port = text.substr(colon + 1);
  if (port.empty() || port.size() > 5 ||
      port.find_first_not_of("0123456789") != std::string_view::npos ||
      !absl::SimpleAtoi(absl::string_view(port.data(), port.size()), &address.port) ||
      address.port > 65535) {
    return wrong();
  }
  std::string_view host = text.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    address.host = std::string(host.substr(1, host.size() - 2));
    in6_addr binary;
    if (inet_pton(AF_INET6, address.host.c_str(), &binary) != 1 ||
        address.host.find('\0') != std::string::npos) {
      return wrong();
    }
    return address;
  }
  if (host.empty() || host.size() > kMaxHost) return wrong();
  for (unsigned char c : host) {
    if (!absl::ascii_isalnum(c) && c != '.' && c != '-' && c != '_') return wrong();
  }
  address.host = std::string(host);
  return address;
}

std::string ToString(const ListenAddress& address) {
  return address.host.find(':') == std::string::npos
             ? absl::StrCat(address.host, ":", address.port)
             : absl::StrCat("[", address.host, "]:", address.port);
}

bool IsLoopback(std::string_view host) {
  if (host == "localhost") return true;
  const std::string text(host);
  in_addr v4;
  if (inet_pton(AF_INET, text.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6;
  return inet_pton(AF_INET6, text.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

}  // namespace convd
