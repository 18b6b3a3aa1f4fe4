#include "tests/fuzz/promises.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  convd::PromiseDecodedImage(convd::Bytes(data, size));
  return 0;
}
