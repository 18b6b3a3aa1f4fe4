#include "core/data/cifar10.h"
#include "tests/fuzz/promises.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace convd;
  const std::string_view bytes = Bytes(data, size);
  const auto images = ReadCifar10(bytes, kFuzzedFile, FuzzedLimits());
  PromiseImages(images);
  if (images.ok()) {
    Promise(images->height == 32 && images->width == 32 && images->channels == 3 &&
                !images->labels.empty(),
            "CIFAR-10 has labelled images of 32 x 32 x 3");
  }
  const auto names = ReadLabelNames(bytes, kFuzzedFile, FuzzedLimits());
  if (names.ok()) {
    for (const std::string& name : *names) {
      Promise(!name.empty() && static_cast<int64_t>(name.size()) <= FuzzedLimits().label_bytes,
              "a class has a name within its limit");
    }
  } else {
    PromiseRefusal(names.status());
  }
  return 0;
}
