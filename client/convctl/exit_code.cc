#include "client/convctl/exit_code.h"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/convctl/terminal_text.h"

namespace convd {
namespace {

constexpr char kExitPayload[] = "convctl/exit_code";
constexpr char kHintPayload[] = "convctl/hint";

absl::string_view Absl(std::string_view text) {
  return absl::string_view(text.data(), text.size());
}

absl::Status WithExitCode(absl::Status status, ExitCode code) {
  status.SetPayload(kExitPayload, absl::Cord(Absl(std::to_string(static_cast<int>(code)))));
  return status;
}

std::string Message(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

}  // namespace

absl::Status UsageError(std::string_view message) {
  return WithExitCode(absl::InvalidArgumentError(Absl(message)), kExitUsage);
}

absl::Status JobEndedError(std::string_view message) {
  return WithExitCode(absl::AbortedError(Absl(message)), kExitJobEnded);
}

absl::Status InterruptedError(std::string_view message) {
  return WithExitCode(absl::CancelledError(Absl(message)), kExitInterrupted);
}

absl::Status WithHint(absl::Status status, std::string_view hint) {
  if (!status.ok()) status.SetPayload(kHintPayload, absl::Cord(Absl(hint)));
  return status;
}

absl::Status WithUsualHint(absl::Status status) {
  if (status.ok() || !HintOf(status).empty()) return status;
  const std::string message = Message(status);
  switch (ExitCodeFor(status)) {
    case kExitUnreachable:
      // What was found out is better than a guess.
      if (absl::StrContains(message, "convctl: --tls")) return status;
      return WithHint(std::move(status),
                      "start a server with `convd --state DIR`, or say where it is with "
                      "--server HOST:PORT or CONVD_SERVER");
    case kExitTimeout:
      return WithHint(std::move(status), "allow more with --timeout SECONDS");
    case kExitUsage:
      return status;
    default:
      break;
  }
  if (status.code() == absl::StatusCode::kUnauthenticated) {
    return WithHint(std::move(status),
                    "give a token with --token-file FILE, CONVD_TOKEN_FILE or CONVD_TOKEN; whoever "
                    "runs the server makes one with `convd token`");
  }
  // gRPC refuses it before convd sees it, in words of its own.
  if (status.code() == absl::StatusCode::kResourceExhausted &&
      absl::StrContains(message, "message larger than max")) {
    return WithHint(
        std::move(status),
        "convd's --max-message-mb is the limit of a message; send less at a time, or raise it");
  }
  if (status.code() != absl::StatusCode::kNotFound) return status;
  for (const char* thing : {"dataset", "model", "job"}) {
    if (!absl::StrContains(message, thing)) continue;
    const char* list = std::string_view(thing) == "job"       ? "`convctl jobs`"
                       : std::string_view(thing) == "dataset" ? "`convctl datasets list`"
                                                              : "`convctl models`";
    return WithHint(std::move(status), absl::StrCat(list, " shows what there is"));
  }
  return status;
}

std::string HintOf(const absl::Status& status) {
  const absl::optional<absl::Cord> hint = status.GetPayload(kHintPayload);
  return hint.has_value() ? std::string(*hint) : "";
}

ExitCode ExitCodeFor(const absl::Status& status) {
  if (const absl::optional<absl::Cord> code = status.GetPayload(kExitPayload); code.has_value()) {
    int value = 0;
    if (absl::SimpleAtoi(std::string(*code), &value)) return static_cast<ExitCode>(value);
  }
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kUnavailable:
      return kExitUnreachable;
    case absl::StatusCode::kDeadlineExceeded:
      return kExitTimeout;
    default:
      return kExitRefused;
  }
}

std::string ErrorText(const absl::Status& status) {
  if (ExitCodeFor(status) == kExitInterrupted) {
    return absl::StrCat(Printable(Message(status), /*keep_lines=*/true), "\n");
  }
  std::string text = absl::StrCat("error: ", Printable(Message(status)), "\n");
  if (const std::string hint = HintOf(status); !hint.empty()) {
    absl::StrAppend(&text, "hint: ", Printable(hint), "\n");
  }
  return text;
}

std::string ErrorJson(const absl::Status& status) {
  nlohmann::ordered_json error;
  error["code"] = absl::StatusCodeToString(status.code());
  error["message"] = Message(status);
  if (const std::string hint = HintOf(status); !hint.empty()) error["hint"] = hint;
  error["exit_code"] = static_cast<int>(ExitCodeFor(status));
  nlohmann::ordered_json document;
  document["error"] = error;
  // A message that is no UTF-8 is shown with replacement characters rather than lost.
  return document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace convd
