#include "server/auth/tls_files.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/status/status_macros.h"

namespace convd {
namespace {

template <auto free>
struct Free {
  template <typename T>
  void operator()(T* object) const {
    free(object);
  }
};
using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;

// A key with a passphrase would have OpenSSL ask for it at the terminal.
int NoPassphrase(char*, int, int, void*) { return 0; }

Bio Reader(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// All certificates of a PEM text; empty where there is none or one is damaged.
std::vector<Certificate> ReadCertificates(const std::string& pem) {
  std::vector<Certificate> certificates;
  const Bio bio = Reader(pem);
  for (;;) {
    Certificate next(PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, nullptr));
    if (next == nullptr) break;
    certificates.push_back(std::move(next));
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (!at_end) certificates.clear();
  return certificates;
}

absl::Status NotPem(absl::string_view flag, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat(flag, ": the file isn't ", what, "; want it in PEM form"));
}

}  // namespace

absl::Status CheckTlsMaterial(const TlsMaterial& material) {
  const std::vector<Certificate> chain = ReadCertificates(material.certificate);
  if (chain.empty()) return NotPem("--tls-cert", "a certificate with those that vouch for it");
  const Bio bio = Reader(material.key);
  const Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, nullptr));
  ERR_clear_error();
  if (key == nullptr) return NotPem("--tls-key", "a private key without a passphrase");
  const bool fits = X509_check_private_key(chain[0].get(), key.get()) == 1;
  ERR_clear_error();
  if (!fits) {
    return absl::InvalidArgumentError(
        "--tls-key: is not the key of --tls-cert's first certificate; want the two that were made "
        "together");
  }
  if (!material.client_ca.empty() && ReadCertificates(material.client_ca).empty()) {
    return NotPem("--tls-client-ca", "one or more certificates that vouch for clients'");
  }
  return absl::OkStatus();
}

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

absl::StatusOr<bool> TlsFiles::Reload() {
  absl::MutexLock reload(&reload_mu_);
  if (!watch_.MayHaveChanged()) return false;
  auto material = std::make_shared<TlsMaterial>();
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
      if (material->client_ca.empty()) return NotPem("--tls-client-ca", "anything; it is empty");
    }
    return CheckTlsMaterial(*material);
  };
  if (absl::Status status = read(); !status.ok()) {
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
  return true;
}

}  // namespace convd
