#ifndef CONVD_TESTS_SERVER_AUTH_TEST_CERTIFICATES_H_
#define CONVD_TESTS_SERVER_AUTH_TEST_CERTIFICATES_H_

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

namespace convd {

struct PemPair {
  std::string certificate;
  std::string key;
};

// An authority of this process's own, whose certificates hold for an hour. Ends the process where
// OpenSSL fails.
class TestAuthority {
 public:
  explicit TestAuthority(const std::string& name = "test authority");

  const std::string& certificate() const { return pem_; }
  // With a new key; `alternative_names` as in "DNS:localhost,IP:127.0.0.1".
  PemPair Issue(const std::string& common_name,
                const std::string& alternative_names = "DNS:localhost,IP:127.0.0.1");
  // With an RSA key of so many bits instead.
  PemPair IssueRsa(const std::string& common_name, unsigned bits);

 private:
  PemPair Issue(const std::string& common_name, const std::string& alternative_names,
                const std::shared_ptr<EVP_PKEY>& key);

  long serial_ = 1;
  std::shared_ptr<EVP_PKEY> key_;
  std::shared_ptr<X509> certificate_;
  std::string pem_;
};

}  // namespace convd

#endif  // CONVD_TESTS_SERVER_AUTH_TEST_CERTIFICATES_H_
