#include "core/data/file_tree.h"
#include "core/data/image_dataset.h"
#include "tests/fuzz/checksums.h"
#include "tests/fuzz/promises.h"

namespace convd {
namespace {

void RepairArchive(uint8_t* data, size_t size) {
  RepairZip(data, size);
  RepairTar(data, size);
}

void ReadImages(std::string_view bytes) {
  if (!IsFileArchive(bytes)) return;
  const DataLimits limits = FuzzedLimits();
  const auto tree = OpenArchiveTree(bytes, kFuzzedFile, limits);
  if (!tree.ok()) return PromiseRefusal(tree.status());
  Promise(static_cast<int64_t>((*tree)->paths().size()) <= limits.image_files,
          "files are within their limit");
  for (size_t i = 0; i < (*tree)->paths().size(); ++i) {
    const std::string& path = (*tree)->paths()[i];
    Promise(CheckTreePath(kFuzzedFile, path).ok(), "paths lead nowhere else");
    Promise(i == 0 || (*tree)->paths()[i - 1] < path, "paths are in byte order, each once");
  }
  const auto dataset = ReadImageDataset(**tree, kFuzzedFile, {}, {}, limits);
  if (!dataset.ok()) return PromiseRefusal(dataset.status());
  Promise(!dataset->labels.empty() && !dataset->splits.empty(), "a dataset has classes and splits");
  for (const DatasetSplit& split : dataset->splits) {
    PromiseImages(split.images);
    for (const int32_t label : split.images.labels) {
      Promise(label < static_cast<int32_t>(dataset->labels.size()), "labels have names");
    }
  }
}

}  // namespace
}  // namespace convd

CONVD_REPAIR_MUTATIONS(convd::RepairArchive)

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  convd::ReadImages(convd::Bytes(data, size));
  return 0;
}
