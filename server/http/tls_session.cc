#include "server/http/tls_session.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <array>

#include "server/auth/openssl_pointer.h"

namespace convd {
namespace {

constexpr size_t kRecordBytes = size_t{16} << 10;  // the most that one record says

// Clients that offer protocols must offer this one (RFC 7301); others needn't.
int SelectProtocol(SSL*, const unsigned char** chosen, unsigned char* chosen_size,
                   const unsigned char* offered, unsigned int offered_size, void*) {
  constexpr absl::string_view kHttp = "http/1.1";
  for (unsigned int i = 0; i < offered_size; i += 1u + offered[i]) {
    const absl::string_view name(reinterpret_cast<const char*>(offered + i + 1), offered[i]);
    if (name != kHttp) continue;
    *chosen = offered + i + 1;
    *chosen_size = offered[i];
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

std::string Utf8(const ASN1_STRING* text) {
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, text);
  std::string result;
  if (size >= 0) result.assign(reinterpret_cast<const char*>(utf8), static_cast<size_t>(size));
  OPENSSL_free(utf8);
  return result;
}

std::string AlternativeName(const GENERAL_NAME& name) {
  switch (name.type) {
    case GEN_DNS:
      return Utf8(name.d.dNSName);
    case GEN_URI:
      return Utf8(name.d.uniformResourceIdentifier);
    case GEN_EMAIL:
      return Utf8(name.d.rfc822Name);
    case GEN_IPADD: {
      const int size = ASN1_STRING_length(name.d.iPAddress);
      const int family = size == 4 ? AF_INET : size == 16 ? AF_INET6 : AF_UNSPEC;
      char text[INET6_ADDRSTRLEN] = "";
      if (family != AF_UNSPEC) {
        inet_ntop(family, ASN1_STRING_get0_data(name.d.iPAddress), text, sizeof text);
      }
      return text;
    }
    default:
      return "";
  }
}

class Session final : public TlsSession {
 public:
  explicit Session(SSL_CTX& context)
      : ssl_(SSL_new(&context)), in_(BIO_new(BIO_s_mem())), out_(BIO_new(BIO_s_mem())) {
    if (!whole()) {
      BIO_free(in_);
      BIO_free(out_);
      return;
    }
    // What is empty now will have more later.
    BIO_set_mem_eof_return(in_, -1);
    SSL_set_bio(ssl_.get(), in_, out_);  // which owns them now
    SSL_set_accept_state(ssl_.get());
  }
  bool whole() const { return ssl_ != nullptr && in_ != nullptr && out_ != nullptr; }

  Received Receive(absl::string_view wire, std::string& said) override {
    ERR_clear_error();
    if (BIO_write(in_, wire.data(), static_cast<int>(wire.size())) !=
        static_cast<int>(wire.size())) {
      return Received::kBroken;
    }
    if (!handshake_done()) {
      if (const int done = SSL_do_handshake(ssl_.get()); done != 1) return Verdict(done);
    }
    std::array<char, kRecordBytes> record;
    for (;;) {
      const int n = SSL_read(ssl_.get(), record.data(), static_cast<int>(record.size()));
      if (n <= 0) return Verdict(n);
      said.append(record.data(), static_cast<size_t>(n));
    }
  }

  bool Send(absl::string_view text) override {
    ERR_clear_error();
    return text.empty() || SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size())) ==
                               static_cast<int>(text.size());
  }

  void End() override {
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
  }

  std::string TakeWire() override {
    char* data = nullptr;
    const long size = BIO_get_mem_data(out_, &data);
    std::string wire(data, static_cast<size_t>(size));
    BIO_reset(out_);
    return wire;
  }

  size_t wire_bytes() const override { return BIO_ctrl_pending(out_); }

  bool handshake_done() const override { return SSL_is_init_finished(ssl_.get()) == 1; }

  std::vector<std::string> PeerNames() const override {
    std::vector<std::string> names;
    const OpenSslPointer<X509, X509_free> certificate(SSL_get1_peer_certificate(ssl_.get()));
    if (certificate == nullptr || SSL_get_verify_result(ssl_.get()) != X509_V_OK) return names;
    const auto add = [&names](std::string name) {
      if (!name.empty()) names.push_back(std::move(name));
    };
    const X509_NAME* const subject = X509_get_subject_name(certificate.get());
    for (int i = -1; (i = X509_NAME_get_index_by_NID(subject, NID_commonName, i)) >= 0;) {
      add(Utf8(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i))));
    }
    const OpenSslPointer<GENERAL_NAMES, GENERAL_NAMES_free> alternatives(
        static_cast<GENERAL_NAMES*>(
            X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr)));
    for (int i = 0; i < sk_GENERAL_NAME_num(alternatives.get()); ++i) {
      add(AlternativeName(*sk_GENERAL_NAME_value(alternatives.get(), i)));
    }
    return names;
  }

 private:
  Received Verdict(int result) {
    switch (SSL_get_error(ssl_.get(), result)) {
      case SSL_ERROR_WANT_READ:
        return Received::kMore;
      case SSL_ERROR_ZERO_RETURN:
        return Received::kEnd;
      default:
        break;
    }
    const bool http = ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST;
    ERR_clear_error();
    return http ? Received::kPlainHttp : Received::kBroken;
  }

  const OpenSslPointer<SSL, SSL_free> ssl_;
  BIO* const in_;   // from the network
  BIO* const out_;  // to it
};

}  // namespace

std::unique_ptr<TlsSession> TlsSession::New(SSL_CTX& context) {
  SSL_CTX_set_alpn_select_cb(&context, SelectProtocol, nullptr);
  auto session = std::make_unique<Session>(context);
  return session->whole() ? std::move(session) : nullptr;
}

}  // namespace convd
