#include "client/convctl/session.h"

#include <google/protobuf/util/json_util.h>
#include <unistd.h>

#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/address.h"
#include "client/convctl/exit_code.h"
#include "core/status/status_macros.h"
#include "core/storage/file_system.h"

namespace convd {
namespace {

constexpr int64_t kMostBytes = int64_t{1} << 20;

absl::Status ReadFlag(const char* flag, const std::string& path, std::string& text) {
  if (path.empty()) return absl::OkStatus();
  absl::StatusOr<std::string> read = FileSystem::Posix().Read(path, kMostBytes);
  if (!read.ok()) {
    return absl::Status(read.status().code(), absl::StrCat(flag, ": ", read.status().message()));
  }
  text = *std::move(read);
  if (!absl::StripAsciiWhitespace(text).empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(flag, ": ", path, " is empty"));
}

// How the server is to be spoken to, and who speaks.
absl::Status ReadAccess(const GlobalFlags& flags, ClientOptions& options) {
  options.token = flags.token;
  CONVD_RETURN_IF_ERROR(ReadFlag("--token-file", flags.token_file, options.token));
  options.token = std::string(absl::StripAsciiWhitespace(options.token));
  options.insecure_token = flags.insecure_token;
  CONVD_RETURN_IF_ERROR(ReadFlag("--tls-ca", flags.tls_ca, options.tls_ca));
  CONVD_RETURN_IF_ERROR(ReadFlag("--tls-cert", flags.tls_cert, options.tls_certificate));
  CONVD_RETURN_IF_ERROR(ReadFlag("--tls-key", flags.tls_key, options.tls_key));
  if (options.tls_certificate.empty() != options.tls_key.empty()) {
    return UsageError("--tls-cert and --tls-key: got one of them; want both, or neither");
  }
  options.tls = flags.tls || !options.tls_ca.empty() || !options.tls_certificate.empty();
  return absl::OkStatus();
}

}  // namespace

Session::Session(const GlobalFlags& flags)
    : flags_(flags), terminal_(DescribeTerminal(STDOUT_FILENO)) {}

int Session::width() const { return TerminalWidth(STDOUT_FILENO); }

absl::StatusOr<ClientOptions> Session::connection() const {
  ClientOptions options;
  options.timeout = absl::Seconds(flags_.timeout_seconds);
  CONVD_RETURN_IF_ERROR(ReadAccess(flags_, options));
  if (options.token.empty()) return options;
  const absl::Status sent = CheckTokenMayBeSent(flags_.server, options.tls, options.insecure_token);
  if (!sent.ok()) {
    return UsageError(std::string_view(sent.message().data(), sent.message().size()));
  }
  return options;
}

absl::StatusOr<Client*> Session::client() {
  if (client_ == nullptr) {
    CONVD_ASSIGN_OR_RETURN(const ClientOptions options, connection());
    CONVD_ASSIGN_OR_RETURN(client_, Client::Connect(flags_.server, options));
  }
  return client_.get();
}

void Session::Print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void Session::Flush() { std::fflush(stdout); }

void Session::PrintNote(std::string_view line) {
  if (flags_.json) return;
  Flush();
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fputc('\n', stderr);
}

absl::Status Session::PrintJson(const google::protobuf::Message& message, bool one_line) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  options.add_whitespace = !one_line;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  if (!status.ok()) {
    return absl::InternalError(absl::StrCat("the answer has no JSON form: ", status.ToString()));
  }
  if (json.empty() || json.back() != '\n') json += '\n';
  Print(json);
  if (one_line) Flush();
  return absl::OkStatus();
}

absl::Status Session::Close() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout)) {
    return absl::InternalError("can't write to standard output");
  }
  return absl::OkStatus();
}

}  // namespace convd
