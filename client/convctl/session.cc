#include "client/convctl/session.h"

#include <google/protobuf/util/json_util.h>
#include <unistd.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/status/status_macros.h"

namespace convd {

Session::Session(const GlobalFlags& flags)
    : flags_(flags), terminal_(DescribeTerminal(STDOUT_FILENO)) {}

int Session::width() const { return TerminalWidth(STDOUT_FILENO); }

absl::Duration Session::timeout() const {
  return flags_.timeout_seconds > 0 ? absl::Seconds(flags_.timeout_seconds)
                                    : absl::InfiniteDuration();
}

absl::StatusOr<Client*> Session::client() {
  if (client_ == nullptr) {
    ClientOptions options;
    options.timeout = absl::Seconds(flags_.timeout_seconds);
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
