#include "server/auth/admission.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/cord.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/status/status_macros.h"
#include "server/auth/token.h"

namespace convd {
namespace {

constexpr absl::string_view kRetryPayload = "convd/retry-after-ms";
constexpr absl::string_view kBearer = "bearer ";
constexpr size_t kMostToken = 256;
// Of principals that no entry names: certificates come and go.
constexpr size_t kMostUnlisted = 4096;

absl::Status TooFast(const std::string& principal, const CallLimits& limits, const char* from,
                     absl::Duration retry_after) {
  const int64_t ms = std::max<int64_t>(
      1, absl::ToInt64Milliseconds(absl::Ceil(retry_after, absl::Milliseconds(1))));
  absl::Status status = absl::ResourceExhaustedError(
      absl::StrFormat("\"%s\" makes more than %g calls a second (%s); try again in %d ms",
                      principal, limits.rate, from, ms));
  const std::string text = absl::StrCat(ms);
  // Not of a temporary string: Debian 12's Abseil, built by gcc, has that one under another name
  // than clang 19 looks for.
  status.SetPayload(kRetryPayload, absl::Cord(absl::string_view(text)));
  return status;
}

absl::Status TooMany(const std::string& principal, const CallLimits& limits, const char* from) {
  return absl::ResourceExhaustedError(
      absl::StrFormat("\"%s\" has %d calls running, which is all that it may have (%s); try again "
                      "when one has ended",
                      principal, limits.concurrent, from));
}

}  // namespace

struct Admission::Table {
  std::vector<TokenEntry> entries;
};

Admission::Admission(FileSystem& fs, const Clock& clock, AdmissionOptions options)
    : clock_(clock),
      fs_(fs),
      options_(std::move(options)),
      watch_(fs, clock, {options_.tokens_path}) {}

absl::StatusOr<std::unique_ptr<Admission>> Admission::Open(FileSystem& fs, const Clock& clock,
                                                           AdmissionOptions options) {
  std::unique_ptr<Admission> admission(new Admission(fs, clock, std::move(options)));
  CONVD_RETURN_IF_ERROR(admission->Reload().status());
  return admission;
}

absl::StatusOr<bool> Admission::Reload() {
  if (options_.tokens_path.empty()) return false;
  absl::MutexLock reload(&reload_mu_);
  if (!watch_.MayHaveChanged()) return false;
  absl::StatusOr<std::string> text =
      ReadAccessFile(fs_, "--tokens", options_.tokens_path, Readers::kOwnerAndGroup);
  if (text.ok() && *text == last_text_ && last_error_.empty()) return false;
  // Whoever writes in place empties the file first: half of one that is being written isn't taken
  // for an order to let nobody in.
  const bool may_be_half = text.ok() && !absl::EndsWith(*text, "\n");
  if (may_be_half && loaded_ && !watch_.settled()) return false;
  absl::StatusOr<std::vector<TokenEntry>> entries =
      text.ok() ? ParseTokensFile(*text) : text.status();
  if (text.ok() && !entries.ok()) {
    entries = absl::Status(entries.status().code(),
                           absl::StrCat("--tokens: ", absl::CHexEscape(options_.tokens_path), ": ",
                                        entries.status().message()));
  }
  if (!entries.ok()) {
    watch_.LookAgain();
    const std::string error(entries.status().message());
    if (error == last_error_) return false;
    last_error_ = error;
    return entries.status();
  }
  loaded_ = true;
  last_text_ = *std::move(text);
  last_error_.clear();
  auto table = std::make_shared<Table>();
  table->entries = *std::move(entries);
  absl::MutexLock lock(&mu_);
  table_ = std::move(table);
  for (const TokenEntry& entry : table_->entries) {
    const auto limit = limits_.find(entry.name);
    if (limit == limits_.end()) continue;
    limit->second->Set(LimitsOf(entry));
  }
  return true;
}

CallLimits Admission::LimitsOf(const TokenEntry& entry) const {
  return {entry.rate.value_or(options_.limits.rate),
          entry.concurrent.value_or(options_.limits.concurrent)};
}

bool Admission::AdmitsNobody() {
  absl::MutexLock lock(&mu_);
  return table_ != nullptr && table_->entries.empty();
}

absl::StatusOr<const TokenEntry*> Admission::Find(const Table& table,
                                                  absl::string_view authorization,
                                                  const Peer& peer) const {
  if (!authorization.empty()) {
    if (!absl::StartsWithIgnoreCase(authorization, kBearer)) {
      return absl::UnauthenticatedError(
          "authorization: want \"Bearer TOKEN\" with a token of this server's");
    }
    const absl::string_view token =
        absl::StripAsciiWhitespace(authorization.substr(kBearer.size()));
    const std::string hash = token.size() <= kMostToken ? HashToken(token) : std::string();
    // All are looked at, so that how long it takes tells nothing of where one is.
    const TokenEntry* found = nullptr;
    for (const TokenEntry& entry : table.entries) {
      if (SameHash(entry.sha256, hash)) found = &entry;
    }
    if (found != nullptr) return found;
    return absl::UnauthenticatedError(
        "authorization: this server doesn't know the token; it may have been mistyped, replaced or "
        "taken back");
  }
  for (const std::string& name : peer.certificate_names) {
    for (const TokenEntry& entry : table.entries) {
      if (entry.sha256.empty() && entry.name == name) return &entry;
    }
  }
  if (!peer.certificate_names.empty()) {
    return absl::UnauthenticatedError(
        absl::StrCat("the client's certificate is for ",
                     absl::CHexEscape(absl::StrJoin(peer.certificate_names, ", ").substr(0, 300)),
                     ", which --tokens of this server has no entry for; want one, or a token"));
  }
  return absl::UnauthenticatedError(
      "no token came with the call; send the header \"authorization: Bearer TOKEN\" (convctl: "
      "--token-file FILE or the variable CONVD_TOKEN)");
}

std::shared_ptr<CallLimit> Admission::LimitOf(const std::string& principal) {
  std::shared_ptr<CallLimit>& limit = limits_[principal];
  if (limit != nullptr) return limit;
  // By the table of now, which may be another than the one that the principal was found in: later
  // ones set what is in limits_ already.
  CallLimits limits = options_.limits;
  if (table_ != nullptr) {
    for (const TokenEntry& entry : table_->entries) {
      if (entry.name == principal) limits = LimitsOf(entry);
    }
  }
  const std::shared_ptr<CallLimit> made = limit = std::make_shared<CallLimit>(limits);
  if (limits_.size() > kMostUnlisted) {
    absl::erase_if(limits_, [](const auto& entry) { return entry.second.use_count() == 1; });
  }
  return made;
}

Admitted Admission::Admit(Scope scope, absl::string_view authorization, const Peer& peer) {
  Admitted admitted;
  if (scope == Scope::kNone) {
    admitted.status_ = absl::OkStatus();
    return admitted;
  }
  std::shared_ptr<const Table> table;
  if (!options_.tokens_path.empty()) {
    absl::MutexLock lock(&mu_);
    table = table_;
  }
  ScopeSet scopes = ScopeSet::All();
  CallLimits limits = options_.limits;
  const char* rate_from = "--max-rate";
  const char* concurrent_from = "--max-concurrent-calls";
  if (table != nullptr) {
    const absl::StatusOr<const TokenEntry*> entry = Find(*table, authorization, peer);
    if (!entry.ok()) {
      admitted.status_ = entry.status();
      return admitted;
    }
    scopes = (*entry)->scopes;
    admitted.principal_ = (*entry)->name;
    admitted.token_hash_ = (*entry)->sha256;
    if ((*entry)->rate.has_value()) {
      limits.rate = *(*entry)->rate;
      rate_from = "rate= of its entry in --tokens";
    }
    if ((*entry)->concurrent.has_value()) {
      limits.concurrent = *(*entry)->concurrent;
      concurrent_from = "concurrent= of its entry in --tokens";
    }
  } else {
    admitted.principal_ =
        peer.certificate_names.empty() ? "anonymous" : peer.certificate_names.front();
  }
  const bool allowed = scopes.Has(scope);
  const auto denied = [&] {
    return absl::PermissionDeniedError(absl::StrCat("this call needs the scope ", ToString(scope),
                                                    "; \"", admitted.principal_, "\" has ",
                                                    ToString(scopes)));
  };
  std::shared_ptr<CallLimit> limit;
  {
    absl::MutexLock lock(&mu_);
    limit = LimitOf(admitted.principal_);
  }
  // What is refused for its scope counts for the rate, too.
  const CallLimit::Taken taken = limit->Take(clock_.Monotonic());
  switch (taken.answer) {
    case CallLimit::Answer::kTaken:
      admitted.status_ = allowed ? absl::OkStatus() : denied();
      if (allowed) {
        admitted.scope_ = scope;
        admitted.limit_ = std::move(limit);
        admitted.rate_from_ = rate_from;
      } else {
        limit->Release();
      }
      break;
    case CallLimit::Answer::kTooFast:
      admitted.status_ = TooFast(admitted.principal_, limits, rate_from, taken.retry_after);
      break;
    case CallLimit::Answer::kTooMany:
      admitted.status_ = allowed ? TooMany(admitted.principal_, limits, concurrent_from) : denied();
      break;
  }
  return admitted;
}

absl::Status Admission::AdmitMore(const Admitted& stream) {
  if (stream.limit_ == nullptr) return absl::OkStatus();
  std::shared_ptr<const Table> table;
  if (!options_.tokens_path.empty()) {
    absl::MutexLock lock(&mu_);
    table = table_;
  }
  if (table != nullptr &&
      std::none_of(table->entries.begin(), table->entries.end(), [&](const TokenEntry& entry) {
        return entry.name == stream.principal_ && entry.sha256 == stream.token_hash_ &&
               entry.scopes.Has(stream.scope_);
      })) {
    return absl::UnauthenticatedError(
        absl::StrCat("\"", stream.principal_,
                     "\" may not make this call any more: --tokens has "
                     "been changed since the stream began"));
  }
  const CallLimit::Taken taken = stream.limit_->TakeMore(clock_.Monotonic());
  if (taken.answer == CallLimit::Answer::kTaken) return absl::OkStatus();
  return TooFast(stream.principal_, stream.limit_->limits(), stream.rate_from_, taken.retry_after);
}

absl::Duration RetryAfter(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kRetryPayload);
  int64_t ms = 0;
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &ms)) {
    return absl::ZeroDuration();
  }
  return absl::Milliseconds(ms);
}

}  // namespace convd
