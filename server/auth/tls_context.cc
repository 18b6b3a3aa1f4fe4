#include "server/auth/tls_context.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "server/auth/openssl_pointer.h"

namespace convd {
namespace {

using Bio = OpenSslPointer<BIO, BIO_free_all>;
using Certificate = OpenSslPointer<X509, X509_free>;
using Key = OpenSslPointer<EVP_PKEY, EVP_PKEY_free>;

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

// What OpenSSL said last, which is forgotten.
absl::Status Refused(absl::string_view flag, absl::string_view what) {
  const char* const reason = ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return absl::InvalidArgumentError(absl::StrCat(
      flag, ": OpenSSL refuses ", what, ": ", reason == nullptr ? "it doesn't say why" : reason,
      "; want keys of at least 2048 bits (RSA) or 224 (EC), and signatures by SHA-256 or better"));
}

absl::Status UseClientAuthorities(SSL_CTX* context, const std::string& pem) {
  const std::vector<Certificate> authorities = ReadCertificates(pem);
  if (authorities.empty()) {
    return NotPem("--tls-client-ca", "one or more certificates that vouch for clients'");
  }
  for (const Certificate& authority : authorities) {
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.get()) != 1 ||
        SSL_CTX_add_client_CA(context, authority.get()) != 1) {
      return Refused("--tls-client-ca", "a certificate");
    }
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<SSL_CTX>> NewTlsContext(const TlsMaterial& material) {
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
  const std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (context == nullptr) return absl::ResourceExhaustedError("--tls-cert: no memory for TLS");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
                                         SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context.get(), 0);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);
  // These measure keys and signatures by the security level that the machine has set.
  if (SSL_CTX_use_certificate(context.get(), chain[0].get()) != 1) {
    return Refused("--tls-cert", "the certificate");
  }
  for (size_t i = 1; i < chain.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context.get(), chain[i].get()) != 1) {
      return Refused("--tls-cert", absl::StrCat("certificate ", i + 1, " of the file"));
    }
  }
  if (SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1) return Refused("--tls-key", "the key");
  if (!material.client_ca.empty()) {
    const absl::Status used = UseClientAuthorities(context.get(), material.client_ca);
    if (!used.ok()) return used;
  }
  return context;
}

}  // namespace convd
