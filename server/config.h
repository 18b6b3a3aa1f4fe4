#ifndef CONVD_SERVER_CONFIG_H_
#define CONVD_SERVER_CONFIG_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/auth/scope.h"

namespace convd {

// What the command line says, checked. A plain value.
struct Config {
  std::string grpc_address = "127.0.0.1:8081";  // port 0: a free one
  std::string http_address = "127.0.0.1:8080";  // likewise; "": none
  // Addresses beyond this machine are allowed without encryption, or without asking who calls.
  bool insecure = false;
  std::string tls_cert, tls_key;  // both, or neither
  std::string tls_client_ca;      // empty: clients need no certificate
  std::string tokens;             // the tokens file; empty: no token is needed
  double max_rate = 0;            // calls a second of one principal; 0: no limit
  int max_concurrent_calls = 0;   // of one principal; 0: no limit
  std::string audit_log;          // empty: in the log
  std::string state_dir;
  std::vector<std::string> data_dirs;
  int cpus = 0;     // workers; 0 means as many as the budget says
  std::string isa;  // "avx2", "avx512"; "" leaves it to the CPU
  int concurrent_jobs = 1;
  int max_waiting_jobs = 10'000;  // queued and paused
  int64_t max_state_bytes = 0;    // of what the state folder takes on the disk; 0: no limit
  absl::Duration checkpoint_interval = absl::Seconds(30);
  absl::Duration drain = absl::Seconds(10);
  int max_message_mb = 64;  // both directions
  int max_batch = 0;        // images of predictions computed together; 0: as many as suit the model
  // How long a prediction may wait for others to share its batch.
  absl::Duration batch_delay = absl::ZeroDuration();
  // How long a prediction may have to wait for a worker; zero: for ever.
  absl::Duration max_queue_wait = absl::Seconds(5);
  std::string log_level = "info";
  std::string log_format = "text";  // or "json"
  int train_share = 10;  // percent of a worker's time that predictions leave to training at least
  int nice = 5;  // of the workers, so that threads that answer come before those that compute
};

// How many bytes of messages may wait at once, on their way in or out, of all clients together: a
// gibibyte, or a dozen of the largest.
int64_t MostWaitingBytes(const Config& config);

// A token to be made: convd token NAME --scopes SCOPES.
struct NewTokenRequest {
  std::string name;
  ScopeSet scopes;
};

// Either a configuration, or what the user asked to read (--help, --version) or to have made.
struct CommandLine {
  Config config;
  std::string text;  // where not empty: print it, exit 0
  std::optional<NewTokenRequest> new_token;
};

// INVALID_ARGUMENT is a sentence that names the flag. `environment` is asked for XDG_STATE_HOME and
// HOME ("" where unset).
absl::StatusOr<CommandLine> ParseCommandLine(
    const std::vector<std::string>& arguments,
    const std::function<std::string(std::string_view)>& environment);

// HOST:PORT or [IPV6]:PORT, taken apart. HOST is a name or a number. Errors begin with `flag`.
struct ListenAddress {
  std::string host;  // without brackets
  int port = 0;
};
absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view flag, std::string_view text);
std::string ToString(const ListenAddress& address);

// True for localhost, 127.0.0.0/8 and ::1. Another name may lead anywhere, so it is none.
bool IsLoopback(std::string_view host);

}  // namespace convd

#endif  // CONVD_SERVER_CONFIG_H_
