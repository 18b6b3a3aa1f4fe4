#ifndef CONVD_SERVER_AUTH_TLS_FILES_H_
#define CONVD_SERVER_AUTH_TLS_FILES_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "core/storage/file_system.h"
#include "core/time/clock.h"
#include "server/auth/secret_file.h"
#include "server/auth/tls_context.h"

namespace convd {

// Where --tls-cert, --tls-key and --tls-client-ca lie. The last is empty where clients need no
// certificate.
struct TlsPaths {
  std::string certificate;
  std::string key;
  std::string client_ca;
};

// What a server proves itself with, read again when its files change. Any thread may call.
class TlsFiles {
 public:
  // Errors name the flag. File system and clock outlive it.
  static absl::StatusOr<std::unique_ptr<TlsFiles>> Open(FileSystem& fs, const Clock& clock,
                                                        TlsPaths paths);

  // Another object after each change; never null.
  std::shared_ptr<const TlsMaterial> Current() const;
  // What OpenSSL makes of it; another after each change, and never null either.
  std::shared_ptr<SSL_CTX> Context() const;

  // Reads the files again where they have changed: true where they count from now on. An error,
  // once for each, where they don't fit together or can't be read; what counted before still does.
  absl::StatusOr<bool> Reload();

 private:
  TlsFiles(FileSystem& fs, const Clock& clock, TlsPaths paths);

  FileSystem& fs_;
  const TlsPaths paths_;

  absl::Mutex reload_mu_;
  WatchedFiles watch_ ABSL_GUARDED_BY(reload_mu_);
  std::string last_error_ ABSL_GUARDED_BY(reload_mu_);

  mutable absl::Mutex mu_;
  std::shared_ptr<const TlsMaterial> current_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<SSL_CTX> context_ ABSL_GUARDED_BY(mu_);
};

}  // namespace convd

#endif  // CONVD_SERVER_AUTH_TLS_FILES_H_
