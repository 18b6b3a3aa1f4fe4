#include "tests/server/auth/test_certificates.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <cstdlib>

namespace convd {
namespace {

void Want(bool ok) {
  if (ok) return;
  std::fputs("OpenSSL could not make a certificate\n", stderr);
  std::abort();
}

std::string TextOf(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<size_t>(size));
  BIO_free(bio);
  return text;
}

std::string Pem(X509* certificate) {
  BIO* const bio = BIO_new(BIO_s_mem());
  Want(PEM_write_bio_X509(bio, certificate) == 1);
  return TextOf(bio);
}

void Extend(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  Want(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1);
  X509_EXTENSION_free(extension);
}

std::shared_ptr<EVP_PKEY> NewKey() {
  std::shared_ptr<EVP_PKEY> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  Want(key != nullptr);
  return key;
}

std::shared_ptr<X509> NewCertificate(const std::string& name, EVP_PKEY* key, long serial) {
  std::shared_ptr<X509> certificate(X509_new(), X509_free);
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  return certificate;
}

}  // namespace

TestAuthority::TestAuthority(const std::string& name)
    : key_(NewKey()), certificate_(NewCertificate(name, key_.get(), serial_++)) {
  X509_set_issuer_name(certificate_.get(), X509_get_subject_name(certificate_.get()));
  Extend(certificate_.get(), certificate_.get(), NID_basic_constraints, "critical,CA:TRUE");
  Extend(certificate_.get(), certificate_.get(), NID_subject_key_identifier, "hash");
  Want(X509_sign(certificate_.get(), key_.get(), EVP_sha256()) != 0);
  pem_ = Pem(certificate_.get());
}

PemPair TestAuthority::Issue(const std::string& common_name, const std::string& alternative_names) {
  return Issue(common_name, alternative_names, NewKey());
}

PemPair TestAuthority::IssueRsa(const std::string& common_name, unsigned bits) {
  const std::shared_ptr<EVP_PKEY> key(EVP_RSA_gen(bits), EVP_PKEY_free);
  Want(key != nullptr);
  return Issue(common_name, "DNS:localhost", key);
}

PemPair TestAuthority::Issue(const std::string& common_name, const std::string& alternative_names,
                             const std::shared_ptr<EVP_PKEY>& key) {
  const std::shared_ptr<X509> certificate = NewCertificate(common_name, key.get(), serial_++);
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate_.get()));
  Extend(certificate.get(), certificate_.get(), NID_subject_alt_name, alternative_names);
  Extend(certificate.get(), certificate_.get(), NID_authority_key_identifier, "keyid");
  Want(X509_sign(certificate.get(), key_.get(), EVP_sha256()) != 0);
  BIO* const bio = BIO_new(BIO_s_mem());
  Want(PEM_write_bio_PKCS8PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return {Pem(certificate.get()), TextOf(bio)};
}

}  // namespace convd
