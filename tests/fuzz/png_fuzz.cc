#include "tests/fuzz/checksums.h"
#include "tests/fuzz/promises.h"

CONVD_REPAIR_MUTATIONS(convd::RepairPng)

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  convd::PromiseDecodedImage(convd::Bytes(data, size));
  return 0;
}
