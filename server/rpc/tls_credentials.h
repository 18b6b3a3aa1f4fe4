#ifndef CONVD_SERVER_RPC_TLS_CREDENTIALS_H_
#define CONVD_SERVER_RPC_TLS_CREDENTIALS_H_

#include <grpcpp/security/server_credentials.h>

#include <memory>

#include "server/auth/tls_files.h"

namespace convd {

// TLS 1.2 or later with what `files` has when a connection is made; connections that were made
// before a change go on. Clients need a certificate where there is a client_ca. The server
// asks the result at each handshake without owning it: it and `files` outlive the server.
std::shared_ptr<grpc::ServerCredentials> NewTlsCredentials(const TlsFiles& files);

}  // namespace convd

#endif  // CONVD_SERVER_RPC_TLS_CREDENTIALS_H_
