#include "core/data/idx.h"
#include "tests/fuzz/promises.h"

namespace convd {
namespace {

// IDX labels 0 for so many images.
std::string ZeroLabels(int64_t count) {
  std::string file("\0\0\x8\1", 4);
  for (int shift = 24; shift >= 0; shift -= 8) file += static_cast<char>(count >> shift & 0xff);
  return file + std::string(static_cast<size_t>(count), '\0');
}

void ReadAsEither(std::string_view bytes) {
  const DataLimits limits = FuzzedLimits();
  const auto images = ReadIdxImages(bytes, kFuzzedFile, limits);
  PromiseImages(images);
  if (images.ok()) {
    Promise(images->labels.empty(), "images alone have no labels");
    const auto labelled = ReadIdx(bytes, kFuzzedFile, ZeroLabels(images->count), "labels", limits);
    PromiseImages(labelled);
    Promise(labelled.ok() && labelled->count == images->count && !labelled->labels.empty(),
            "images are read with as many labels");
    Promise(!ReadIdx(bytes, kFuzzedFile, ZeroLabels(images->count + 1), "labels", limits).ok(),
            "images aren't read with one label more");
  }
  const auto labels = ReadIdxLabels(bytes, kFuzzedFile, limits);
  if (!labels.ok()) return PromiseRefusal(labels.status());
  Promise(labels->size() <= limits.samples, "labels are within their limit");
  for (const int32_t label : labels->span()) {
    Promise(label >= 0 && label < limits.classes, "labels are of a class");
  }
}

}  // namespace
}  // namespace convd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  convd::ReadAsEither(convd::Bytes(data, size));
  return 0;
}
