#ifndef CONVD_CORE_STORAGE_SHA256_H_
#define CONVD_CORE_STORAGE_SHA256_H_

#include <memory>
#include <string>
#include <string_view>

namespace convd {

// SHA-256 (FIPS 180-4) of bytes that come in pieces. One thread at a time.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Update(std::string_view bytes);
  // 64 lower-case hex digits of all that came in, and begins anew. Empty, which no digest equals,
  // where the library fails (no memory).
  std::string Hex();

 private:
  struct Context;
  std::unique_ptr<Context> context_;  // null after a failure
};

// Of `bytes` alone. Any thread may call.
std::string Sha256Hex(std::string_view bytes);

}  // namespace convd

#endif  // CONVD_CORE_STORAGE_SHA256_H_
