#include "server/call_log.h"

#include <spdlog/spdlog.h>

#include "absl/strings/escaping.h"

namespace convd {
namespace {

bool IsOurFault(const absl::Status& status) {
  return absl::IsInternal(status) || absl::IsDataLoss(status) || absl::IsUnknown(status);
}

// Whoever isn't recognized, or is refused for calling too often, may do so as often as they like:
// the log must not grow by it.
bool IsWorthAuditing(const FinishedCall& call) {
  return call.audited && !call.principal.empty() &&
         !(absl::IsResourceExhausted(call.status) && call.target.empty());
}

std::string Escaped(std::string_view text) {
  return absl::Utf8SafeCHexEscape(absl::string_view(text.data(), text.size()));
}

}  // namespace

void CallLog::Finished(const FinishedCall& call) {
  const std::string code = absl::StatusCodeToString(call.status.code());
  const std::string message(call.status.message());
  if (IsOurFault(call.status)) {
    spdlog::warn("call {} {}: {}: {}", call.request_id, call.method, code, Escaped(message));
  } else if (spdlog::should_log(spdlog::level::debug)) {
    spdlog::debug("call {} {}: {} in {:.3f} ms, for \"{}\" at {}, trace {}", call.request_id,
                  call.method, code, absl::ToDoubleMilliseconds(call.duration),
                  Escaped(call.principal), call.peer(),
                  call.trace_id.empty() ? std::string_view("none") : call.trace_id);
  }
  if (!IsWorthAuditing(call)) return;
  const std::string peer = call.peer();
  const AuditRecord record{clock_.Now(), call.principal, peer, call.request_id,
                           call.method,  call.target,    code, message};
  if (audit_ == nullptr) {
    spdlog::info("audit {}", AuditLine(record));
    return;
  }
  // What changed nothing needn't be on the disk before the next call, and may end on a thread that
  // others wait for.
  if (!call.status.ok()) return audit_->WriteSoon(record);
  if (const absl::Status written = audit_->Write(record); !written.ok()) {
    spdlog::error("{}; what could not be written is {}", std::string(written.message()),
                  AuditLine(record));
  }
}

}  // namespace convd
