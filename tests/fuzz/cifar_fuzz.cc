#include "core/data/cifar.h"
#include "tests/fuzz/promises.h"

namespace convd {
namespace {

void PromiseCifar(const absl::StatusOr<ImageSet>& images) {
  PromiseImages(images);
  if (!images.ok()) return;
  Promise(images->height == 32 && images->width == 32 && images->channels == 3 &&
              !images->labels.empty(),
          "CIFAR's files have labelled images of 32 x 32 x 3");
}

void PromiseNames(const absl::StatusOr<std::vector<std::string>>& names) {
  if (!names.ok()) return PromiseRefusal(names.status());
  for (const std::string& name : *names) {
    Promise(!name.empty() && static_cast<int64_t>(name.size()) <= FuzzedLimits().label_bytes,
            "a class has a name within its limit");
  }
}

}  // namespace
}  // namespace convd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace convd;
  const std::string_view bytes = Bytes(data, size);
  PromiseCifar(ReadCifar10(bytes, kFuzzedFile, FuzzedLimits()));
  PromiseCifar(ReadCifar100(bytes, kFuzzedFile, FuzzedLimits()));
  PromiseNames(ReadLabelNames(bytes, kFuzzedFile, FuzzedLimits()));
  return 0;
}
