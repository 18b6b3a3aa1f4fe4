#include "server/auth/tls_files.h"

#include <utility>
#include <vector>

#include "core/status/status_macros.h"

namespace convd {

TlsFiles::TlsFiles(FileSystem& fs, const Clock& clock, TlsPaths paths)
    : fs_(fs),
      paths_(std::move(paths)),
      watch_(fs, clock,
             paths_.client_ca.empty()
                 ? std::vector<std::string>{paths_.certificate, paths_.key}
                 : std::vector<std::string>{paths_.certificate, paths_.key, paths_.client_ca}) {}

absl::StatusOr<std::unique_ptr<TlsFiles>> TlsFiles::Open(FileSystem& fs, const Clock& clock,
                                                         TlsPaths paths) {
  std::unique_ptr<TlsFiles> files(new TlsFiles(fs, clock, std::move(paths)));
  CONVD_RETURN_IF_ERROR(files->Reload().status());
  return files;
}

std::shared_ptr<const TlsMaterial> TlsFiles::Current() const {
  absl::MutexLock lock(&mu_);
  return current_;
}

std::shared_ptr<SSL_CTX> TlsFiles::Context() const {
  absl::MutexLock lock(&mu_);
  return context_;
}

absl::StatusOr<bool> TlsFiles::Reload() {
  absl::MutexLock reload(&reload_mu_);
  if (!watch_.MayHaveChanged()) return false;
  auto material = std::make_shared<TlsMaterial>();
  std::shared_ptr<SSL_CTX> context;
  const auto read = [&]() -> absl::Status {
    CONVD_ASSIGN_OR_RETURN(
        material->certificate,
        ReadAccessFile(fs_, "--tls-cert", paths_.certificate, Readers::kEveryone));
    CONVD_ASSIGN_OR_RETURN(material->key,
                           ReadAccessFile(fs_, "--tls-key", paths_.key, Readers::kOwnerAndGroup));
    if (!paths_.client_ca.empty()) {
      CONVD_ASSIGN_OR_RETURN(
          material->client_ca,
          ReadAccessFile(fs_, "--tls-client-ca", paths_.client_ca, Readers::kEveryone));
      if (material->client_ca.empty()) {
        return absl::InvalidArgumentError(
            "--tls-client-ca: the file is empty; want certificates that vouch for clients'");
      }
    }
    CONVD_ASSIGN_OR_RETURN(context, NewTlsContext(*material));
    return absl::OkStatus();
  };
  if (absl::Status status = read(); !status.ok()) {
    watch_.LookAgain();
    const std::string error(status.message());
    if (error == last_error_) return false;
    last_error_ = error;
    return status;
  }
  last_error_.clear();
  absl::MutexLock lock(&mu_);
  const bool same = current_ != nullptr && current_->certificate == material->certificate &&
                    current_->key == material->key && current_->client_ca == material->client_ca;
  if (same) return false;
  current_ = std::move(material);
  context_ = std::move(context);
  return true;
}

}  // namespace convd
