#include "core/data/npz.h"
#include "tests/fuzz/npz_mutation.h"
#include "tests/fuzz/promises.h"

namespace convd {
namespace {

void ReadSplits(std::string_view bytes) {
  const DataLimits limits = FuzzedLimits();
  const auto splits = NpzSplits(bytes, kFuzzedFile, limits);
  if (!splits.ok()) return PromiseRefusal(splits.status());
  Promise(static_cast<int64_t>(splits->size()) <= limits.splits + 2,
          "splits are within their limit");
  PromiseImages(ReadNpz(bytes, kFuzzedFile, limits));
  for (const std::string& split : *splits) {
    const auto images = ReadNpz(bytes, kFuzzedFile, limits, split);
    PromiseImages(images);
    if (images.ok()) Promise(!images->labels.empty(), "images of an npz have labels");
  }
}

}  // namespace
}  // namespace convd

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  return convd::MutateNpz(data, size, max_size, seed);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  convd::ReadSplits(convd::Bytes(data, size));
  return 0;
}
