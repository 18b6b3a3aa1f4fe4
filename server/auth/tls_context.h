#ifndef CONVD_SERVER_AUTH_TLS_CONTEXT_H_
#define CONVD_SERVER_AUTH_TLS_CONTEXT_H_

#include <openssl/types.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace convd {

// PEM texts. A plain value.
struct TlsMaterial {
  std::string certificate;  // the server's first, then those that vouch for it
  std::string key;
  std::string client_ca;  // empty where clients need none
};

// What OpenSSL makes of them for a server: TLS 1.2 or later, clients asked for a certificate where
// there is a client_ca, no renegotiation and no resumption, so that each connection's certificate
// is looked at. INVALID_ARGUMENT names the flag and what would be right, and never shows the key:
// texts that are no PEM, a key that isn't the certificate's, or one that this machine's OpenSSL
// finds too weak. Any thread may use the result.
absl::StatusOr<std::shared_ptr<SSL_CTX>> NewTlsContext(const TlsMaterial& material);

}  // namespace convd

#endif  // CONVD_SERVER_AUTH_TLS_CONTEXT_H_
