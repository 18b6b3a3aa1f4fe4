#include <algorithm>

#include "core/data/zip_archive.h"
#include "tests/fuzz/checksums.h"
#include "tests/fuzz/promises.h"

CONVD_REPAIR_MUTATIONS(convd::RepairZip)

namespace convd {
namespace {

void ReadMembers(std::string_view bytes) {
  constexpr int64_t kLimit = 1 << 18;
  auto archive = ZipArchive::Open(bytes, kFuzzedFile);
  if (!archive.ok()) return PromiseRefusal(archive.status());
  // Many members may share the same bytes; some of them show as much as all.
  const size_t members = std::min<size_t>(archive->members().size(), 8);
  for (size_t i = 0; i < members; ++i) {
    const auto member = archive->Read(i, kLimit);
    if (!member.ok()) {
      PromiseRefusal(member.status());
      continue;
    }
    Promise(member->size() <= kLimit, "a member is within its limit");
    const std::string copy(member->data(), static_cast<size_t>(member->size()));
  }
}

}  // namespace
}  // namespace convd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  convd::ReadMembers(convd::Bytes(data, size));
  return 0;
}
