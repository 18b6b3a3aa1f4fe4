#include "core/storage/sha256.h"

#include <openssl/evp.h>

namespace convd {

struct Sha256::Context {
  EVP_MD_CTX* digest = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(digest); }
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  if (context_->digest == nullptr ||
      EVP_DigestInit_ex(context_->digest, EVP_sha256(), nullptr) != 1) {
    context_ = nullptr;
  }
}

Sha256::~Sha256() = default;

void Sha256::Update(std::string_view bytes) {
  if (context_ != nullptr && EVP_DigestUpdate(context_->digest, bytes.data(), bytes.size()) != 1) {
    context_ = nullptr;
  }
}

std::string Sha256::Hex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (context_ == nullptr || EVP_DigestFinal_ex(context_->digest, digest, &size) != 1) {
    context_ = nullptr;
    return "";
  }
  if (EVP_DigestInit_ex(context_->digest, EVP_sha256(), nullptr) != 1) context_ = nullptr;
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (unsigned i = 0; i < size; ++i) {
    hex += kDigits[digest[i] >> 4];
    hex += kDigits[digest[i] & 15];
  }
  return hex;
}

std::string Sha256Hex(std::string_view bytes) {
  Sha256 digest;
  digest.Update(bytes);
  return digest.Hex();
}

}  // namespace convd
