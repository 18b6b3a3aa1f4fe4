#include "core/data/gzip.h"
#include "tests/fuzz/checksums.h"
#include "tests/fuzz/promises.h"

CONVD_REPAIR_MUTATIONS(convd::RepairGzip)

namespace convd {
namespace {

void Unpack(std::string_view bytes) {
  constexpr int64_t kLimit = 1 << 20;
  constexpr size_t kPrefix = 64;
  const std::string prefix = GzipPrefix(bytes, kPrefix);
  Promise(prefix.size() <= kPrefix, "a prefix is as short as asked for");
  const auto plain = InflateIfGzip(bytes, kFuzzedFile, kLimit);
  const auto inflated = InflateGzip(bytes, kFuzzedFile, kLimit);
  if (!plain.ok()) PromiseRefusal(plain.status());
  if (!inflated.ok()) return PromiseRefusal(inflated.status());
  Promise(inflated->size() <= kLimit, "what comes out is within the limit");
  const std::string_view all(inflated->data(), static_cast<size_t>(inflated->size()));
  Promise(plain.ok() && plain->view == all, "both ways give the same");
  Promise(all.substr(0, prefix.size()) == prefix, "the prefix is one");
}

}  // namespace
}  // namespace convd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  convd::Unpack(convd::Bytes(data, size));
  return 0;
}
