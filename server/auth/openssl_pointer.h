#ifndef CONVD_SERVER_AUTH_OPENSSL_POINTER_H_
#define CONVD_SERVER_AUTH_OPENSSL_POINTER_H_

#include <memory>

namespace convd {

// Owns one of OpenSSL's objects, and gives it back by the function that its type has for that:
// OpenSslPointer<X509, X509_free>.
template <auto free>
struct OpenSslFree {
  template <typename T>
  void operator()(T* object) const {
    free(object);
  }
};
template <typename T, auto free>
using OpenSslPointer = std::unique_ptr<T, OpenSslFree<free>>;

}  // namespace convd

#endif  // CONVD_SERVER_AUTH_OPENSSL_POINTER_H_
