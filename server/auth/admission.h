#ifndef CONVD_SERVER_AUTH_ADMISSION_H_
#define CONVD_SERVER_AUTH_ADMISSION_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "core/storage/file_system.h"
#include "core/time/clock.h"
#include "server/auth/call_limit.h"
#include "server/auth/scope.h"
#include "server/auth/secret_file.h"
#include "server/auth/tokens_file.h"

namespace convd {

// Who is at the other end of a connection.
struct Peer {
  // The common name and the alternative names of its certificate, which --tls-client-ca vouches
  // for; empty without one.
  absl::Span<const std::string> certificate_names;
};

// What Admission said of one call. Holds the call's place among its principal's until it is
// destroyed. Movable.
class Admitted {
 public:
  Admitted() = default;
  // What is decided elsewhere, such as by tests; takes no place.
  explicit Admitted(absl::Status status) : status_(std::move(status)) {}
  Admitted(Admitted&& other) = default;
  Admitted& operator=(Admitted&& other) {
    std::swap(status_, other.status_);
    std::swap(principal_, other.principal_);
    std::swap(scope_, other.scope_);
    std::swap(token_hash_, other.token_hash_);
    std::swap(limit_, other.limit_);
    std::swap(rate_from_, other.rate_from_);
    return *this;
  }
  ~Admitted() {
    if (limit_ != nullptr) limit_->Release();
  }

  // OK, or why the call must not be answered: UNAUTHENTICATED, PERMISSION_DENIED,
  // RESOURCE_EXHAUSTED.
  const absl::Status& status() const { return status_; }
  // Empty while it isn't known; a refused call may have one.
  const std::string& principal() const { return principal_; }

 private:
  friend class Admission;
  absl::Status status_ = absl::UnauthenticatedError("nobody has been asked yet");
  std::string principal_;
  Scope scope_ = Scope::kNone;
  std::string token_hash_;            // of the entry; empty where a certificate was asked for
  std::shared_ptr<CallLimit> limit_;  // null where no place was taken
  const char* rate_from_ = "";        // where the principal's rate is given
};

struct AdmissionOptions {
  std::string tokens_path = {};      // empty: no tokens
  bool client_certificates = false;  // connections have certificates that a CA vouches for
  CallLimits limits = {};            // of principals whose entry says nothing
};

// Says who may make which call, and how many. Without tokens and client certificates everyone is
// "anonymous" and may do everything; with certificates alone, whoever has one may, under the first
// of its names. Any thread may call.
class Admission {
 public:
  // Errors name --tokens, file and line. File system and clock outlive it.
  static absl::StatusOr<std::unique_ptr<Admission>> Open(FileSystem& fs, const Clock& clock,
                                                         AdmissionOptions options);

  // `authorization` is the header of this name, empty where there is none: "Bearer TOKEN". A token
  // counts before a certificate. Scope::kNone is open to all, and takes no place.
  Admitted Admit(Scope scope, absl::string_view authorization, const Peer& peer);

  // Of each request in a stream that was admitted: takes one from its principal's rate, as a call
  // does. OK, RESOURCE_EXHAUSTED, or UNAUTHENTICATED where the token was taken back since, or its
  // scope.
  absl::Status AdmitMore(const Admitted& stream);

  // Reads the tokens again where their file has changed: true where what it says counts from now
  // on. An error, once for each wrong content, where what counted before still does. Calls that
  // run go on.
  absl::StatusOr<bool> Reload();
  // The tokens file is there, and has no entry.
  bool AdmitsNobody();

 private:
  struct Table;

  Admission(FileSystem& fs, const Clock& clock, AdmissionOptions options);
  absl::StatusOr<std::shared_ptr<const Table>> Parse(const std::string& text);
  // The entry of the token, else of the certificate; the status says why there is none.
  absl::StatusOr<const TokenEntry*> Find(const Table& table, absl::string_view authorization,
                                         const Peer& peer) const;
  CallLimits LimitsOf(const TokenEntry& entry) const;
  std::shared_ptr<CallLimit> LimitOf(const std::string& principal)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Clock& clock_;
  FileSystem& fs_;
  const AdmissionOptions options_;

  absl::Mutex reload_mu_;
  WatchedFiles watch_ ABSL_GUARDED_BY(reload_mu_);
  bool loaded_ ABSL_GUARDED_BY(reload_mu_) = false;  // last_text_ is what counts
  std::string last_text_ ABSL_GUARDED_BY(reload_mu_);
  std::string last_error_ ABSL_GUARDED_BY(reload_mu_);

  absl::Mutex mu_;
  std::shared_ptr<const Table> table_ ABSL_GUARDED_BY(mu_);
  // By principal; what runs counts on when the tokens are read again.
  absl::flat_hash_map<std::string, std::shared_ptr<CallLimit>> limits_ ABSL_GUARDED_BY(mu_);
};

// How long a caller who was refused for its rate should wait; zero where the status doesn't say.
absl::Duration RetryAfter(const absl::Status& status);

}  // namespace convd

#endif  // CONVD_SERVER_AUTH_ADMISSION_H_
